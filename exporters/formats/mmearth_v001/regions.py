"""The published classes of biomes and ecoregions beside RESOLVE's codes.

The published code numbers the biomes in the order in which they first occur in RESOLVE's table, and the ecoregions
biome by biome in that order, within one as they follow in the table; "Rock and Ice" has no class. `ecoregions.csv` is
that list (RESOLVE Ecoregions 2017, Dinerstein et al., CC BY 4.0).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

# RESOLVE's BIOME_NUM by published class.
BIOME_CODES = (11, 1, 12, 13, 8, 6, 5, 4, 10, 14, 9, 7, 2, 3)
BIOME_CLASSES = {code: number for number, code in enumerate(BIOME_CODES)}


@dataclass(frozen=True)
class Region:
    """An ecoregion: RESOLVE's ECO_ID, BIOME_NUM, REALM and ECO_NAME, as `Location` has them."""

    ecoregion: int
    biome: int
    realm: str
    ecoregion_name: str


@cache
def regions() -> tuple[Region, ...]:
    """The 846 ecoregions by published class."""
    text = files(__package__).joinpath("ecoregions.csv").read_text(encoding="utf-8")
    return tuple(
        Region(int(row["ECO_ID"]), int(row["BIOME_NUM"]), row["REALM"], row["ECO_NAME"])
        for row in csv.DictReader(text.splitlines())
    )


def biome_class(code: int) -> int | None:
    """The published class of a BIOME_NUM; None for one that has none."""
    return BIOME_CLASSES.get(code)


def ecoregion_class(code: int, name: str) -> int | None:
    """The published class of an ECO_ID; None for one that has none.

    A `name` that is not RESOLVE's says that the code is of another table of regions; "" says nothing.
    """
    number = _ecoregion_classes().get(code)
    if number is None or (name and _letters(name) != _letters(regions()[number].ecoregion_name)):
        return None
    return number


@cache
def _ecoregion_classes() -> dict[int, int]:
    return {region.ecoregion: number for number, region in enumerate(regions())}


@cache
def _letters(name: str) -> str:
    """A name without what copies of the table spell in different encodings."""
    return "".join(letter for letter in name.lower() if letter.isascii() and letter.isalpha())
