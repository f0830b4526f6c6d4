"""Names of Sentinel-2's bands, as files write them, and the orders in which images without names have them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.errors import Fatal

L1C = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
L2A = tuple(name for name in L1C if name != "B10")
TRUE_COLOUR = ("B4", "B3", "B2")
# EuroSAT's files have B8A behind B12.
EUROSAT = (*(name for name in L1C if name != "B8A"), "B8A")
_BY_COUNT = {len(order): order for order in (L1C, L2A, TRUE_COLOUR)}
_NUMBERED = re.compile(r"b0?(\d{1,2})(a?)", re.IGNORECASE)


def plain(name: str) -> str:
    """The name without a leading zero: "B08" and "b8" are "B8"; other names stay."""
    found = _NUMBERED.fullmatch(name.strip())
    return f"B{int(found[1])}{found[2].upper()}" if found else name.strip()


def named(text: str, count: int, where: str) -> tuple[str, ...]:
    """The names in a text, separated by commas; raises `Fatal` for another number than `count`."""
    names = tuple(plain(name) for name in text.split(","))
    if len(names) != count:
        raise Fatal(f"{where} has {count} bands, and bands={text} names {len(names)}; name each, in their order.")
    return names


def expected(count: int, where: str) -> tuple[str, ...]:
    """The order that so many bands of Sentinel-2 usually have; raises `Fatal` for a number that says nothing."""
    if count not in _BY_COUNT:
        raise Fatal(
            f"{where} has {count} bands without names; name them, in their order: bands=B2,B3,B4,B8 for example."
        )
    return _BY_COUNT[count]


def described(names: Sequence[str | None]) -> tuple[str, ...] | None:
    """Names from the descriptions of a raster's bands; None unless each has one of its own."""
    found = [plain(name) for name in names if name]
    return tuple(found) if len(found) == len(names) == len(set(found)) else None
