"""ETH global canopy height 2020 (Lang et al. 2023) and its standard deviation."""

from __future__ import annotations

import ee

from exporters.expressions import static
from pipeline.modality import Band, Display, Modality

HEIGHT = "users/nlang/ETH_GlobalCanopyHeight_2020_10m_v1"
DEVIATION = "users/nlang/ETH_GlobalCanopyHeightSD_2020_10m_v1"
_NONE = 255  # in the published rasters


def _height_and_deviation() -> ee.Image:
    both = ee.Image(HEIGHT).select([0], ["height"]).addBands(ee.Image(DEVIATION).select([0], ["std"]))
    return both.updateMask(both.neq(_NONE))


canopy_height_eth = Modality(
    name="canopy_height_eth",
    title="Canopy height 2020 with its standard deviation",
    bands=(Band("height", "m", "canopy top height"), Band("std", "m", "standard deviation of the canopy top height")),
    dtype="uint8",
    nodata=255,
    resampling="bilinear",
    valid_range=(0, 64),
    assets=(HEIGHT, DEVIATION),
    reference="https://langnico.github.io/globalcanopyheight",
    display=Display("grey", ("height",), 0.0, 40.0),
    source=static(_height_and_deviation),
)
