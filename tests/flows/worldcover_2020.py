"""A modality file of a user's own: the older ESA WorldCover map, whose classes are numbers here."""

import ee

from exporters.sources import Pixels
from pipeline.chip import Chip
from pipeline.modality import Band, Display, Modality


def _map(_chip: Chip) -> ee.Image:
    return ee.Image("ESA/WorldCover/v100/2020").select(["Map"])


worldcover_2020 = Modality(
    name="worldcover_2020",
    title="ESA WorldCover 2020",
    bands=(Band("Map"),),
    dtype="uint8",
    nodata=255,
    valid_range=(0, 100),
    assets=("ESA/WorldCover/v100/2020",),
    display=Display("grey", ("Map",), 0.0, 100.0),
    source=Pixels(_map),
)
