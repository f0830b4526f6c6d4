"""Which band of Sentinel-2 each stored band of a GEO-Bench task is: as its files say, and as it is in truth.

m-eurosat and m-brick-kiln carry wrong names (ServiceNow/geo-bench, issues 28 and 29); published figures of MP-MAE and
others took the names as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from exporters.formats.benchmarks.band_names import EUROSAT
from pipeline.errors import unknown_name

CORRECTED, PUBLISHED = "corrected", "published"
_SENTINEL_2 = {
    "01 - Coastal aerosol": "B1", "02 - Blue": "B2", "03 - Green": "B3", "04 - Red": "B4",
    "05 - Vegetation Red Edge": "B5", "06 - Vegetation Red Edge": "B6", "07 - Vegetation Red Edge": "B7",
    "08 - NIR": "B8", "08A - Vegetation Red Edge": "B8A", "09 - Water vapour": "B9", "10 - SWIR - Cirrus": "B10",
    "11 - SWIR": "B11", "12 - SWIR": "B12",
}  # fmt: skip
# What is stored in truth, by position. The last three of m-brick-kiln are a picture of 8 bits.
_IN_TRUTH = {
    "m-eurosat": EUROSAT,
    "m-brick-kiln": (
        "B1", "B2", "B3", "B4", "B5", "B7", "B8A", "B8", "B11", "B12", "TCI red", "TCI green", "TCI blue",
    ),
}  # fmt: skip
# Bands that a task lacks, from which others they are taken: of m-so2sat as in the published protocol (MMEarth-train),
# of m-brick-kiln's true bands by ours, the nearest in wavelength.
_FILLS = {"m-so2sat": {"B1": "B2", "B9": "B8A"}, "m-brick-kiln": {"B6": "B5", "B9": "B8A"}}


def mapped(task: str, stored: Sequence[str], mapping: str) -> tuple[str, ...]:
    """The name of each stored band, in their order; bands that are not Sentinel-2's keep theirs.

    `mapping` is "corrected" (what the band is) or "published" (what its name says); they differ for two tasks. Raises
    `Fatal` for another mapping.
    """
    if mapping not in (CORRECTED, PUBLISHED):
        raise unknown_name("mapping bands", mapping, (CORRECTED, PUBLISHED))
    if mapping == CORRECTED and len(_IN_TRUTH.get(task, ())) == len(stored):
        return _IN_TRUTH[task]
    return tuple(_SENTINEL_2.get(name, name) for name in stored)


def fills_of(task: str) -> Mapping[str, str]:
    """Bands that the task lacks, and which others stand for them."""
    return _FILLS.get(task, {})


def has_wrong_names(task: str) -> bool:
    """Whether the two mappings differ."""
    return task in _IN_TRUTH
