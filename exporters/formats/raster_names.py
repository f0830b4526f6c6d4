"""Where the files of a folder of rasters lie, as paths from it: no folder holds more than a thousand chips."""

from __future__ import annotations

import re

from pipeline.chip import Chip

PER_FOLDER = 1000
CATALOGUES, MOSAICS = "stac", "mosaics"
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_BY_ROW = "row-"


def chip_name(chip: Chip) -> str:
    """The name of a chip: its id, or "row-12" for an id that is no file's name. No two chips have one name."""
    return id_or_row(chip, _PLAIN)


def id_or_row(chip: Chip, plain: re.Pattern[str]) -> str:
    """The id of a chip, or "row-12" for an id that is not `plain`; no two chips of a corpus share it."""
    name = chip.location.id
    return name if plain.fullmatch(name) and not name.startswith(_BY_ROW) else f"{_BY_ROW}{chip.row}"


def part_name(row: int) -> str:
    """The name of the folder that a row is in, by thousands: "0001" holds rows 1000 to 1999."""
    return f"{row // PER_FOLDER:04d}"


def raster_path(layer: str, chip: Chip) -> str:
    """The file of a layer of a chip."""
    return f"{layer}/{part_name(chip.row)}/{chip_name(chip)}_{layer}.tif"


def mosaic_path(layer: str, crs: str) -> str:
    """The VRT of a layer in one CRS."""
    return f"{MOSAICS}/{layer}_{re.sub('[^A-Za-z0-9]+', '_', crs).strip('_').lower()}.vrt"


def catalog_path(part: str) -> str:
    """The STAC catalogue of a thousand rows."""
    return f"{CATALOGUES}/{part}.json"


def item_path(chip: Chip) -> str:
    """The STAC item of a chip."""
    return f"{CATALOGUES}/{part_name(chip.row)}/{chip_name(chip)}.json"
