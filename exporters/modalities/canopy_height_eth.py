"""ETH global canopy height 2020 (Lang et al. 2023) and its standard deviation."""

from __future__ import annotations

import ee

from exporters.expressions import on_pixels_of, static
from exporters.origin import Origin, without
from pipeline.licence import cc_by_4
from pipeline.modality import Band, Display, Modality

HEIGHT = "users/nlang/ETH_GlobalCanopyHeight_2020_10m_v1"
DEVIATION = "users/nlang/ETH_GlobalCanopyHeightSD_2020_10m_v1"
_LICENCE = cc_by_4(
    "Lang, N., Jetz, W., Schindler, K., Wegner, J. D. (2023): A high-resolution canopy height model of the Earth. "
    "Nature Ecology & Evolution. https://doi.org/10.1038/s41559-023-02206-6"
)
_NONE = 255  # in the published rasters


def _known(asset_id: str, band: str) -> ee.Image:
    """The only band of an asset, masked before interpolation: 255 is no height to be mixed with its neighbours'."""
    stored = ee.Image(asset_id).select([0], [band])
    return on_pixels_of(stored.updateMask(stored.neq(_NONE)), stored)


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
    licence=_LICENCE,
    display=Display("grey", ("height",), 0.0, 40.0),
    source=static(
        lambda: (_known(HEIGHT, "height"), _known(DEVIATION, "std")),
        then=ee.Image.cat,
        origins=[
            Origin(HEIGHT, (0,), ("height",), plain=without(_NONE)),
            Origin(DEVIATION, (0,), ("std",), plain=without(_NONE)),
        ],
    ),
)
