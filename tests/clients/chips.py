"""Which pixels a chip has: what the tests of every client ask for, and what our corpus stored for it."""

from __future__ import annotations

import ee
import numpy as np

from pipeline.chip import Chip
from pipeline.corpus import Corpus

SAME_LATTICE = ("B2", "B3", "B4", "B8")  # of 10 m, as the chip: nothing is interpolated


def surface_chips(corpus: Corpus) -> list[Chip]:
    """Chips of level L2A, of which every client can ask for scene classes."""
    chips = [chip for chip in corpus.manifest if chip.acquisition.level == "l2a"]
    assert chips, "the seed gives no chip of this level"
    return chips


def stored(corpus: Corpus, name: str, band: str, chip: Chip) -> np.ndarray:
    """One band of a chip as it is stored, (height, width)."""
    index = corpus.modality(name).band_names.index(band)
    values = corpus.read(name, slice(chip.row, chip.row + 1))[0]
    return np.asarray(values[index])


def scene(chip: Chip) -> ee.Image:
    return ee.Image(chip.acquisition.anchor.asset_id)


def outline(chip: Chip) -> ee.Geometry:
    """The chip's square, planar in its own CRS."""
    return ee.Geometry.Rectangle(list(outline_bounds(chip)), chip.grid.crs, False)


def outline_bounds(chip: Chip) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of the chip in its CRS."""
    x_scale, _, left, _, y_scale, top = chip.grid.transform
    height, width = chip.grid.shape_yx
    return left, top + y_scale * height, left + x_scale * width, top


def same(stored_values: np.ndarray, theirs: np.ndarray, nodata: int, tolerance: float) -> None:
    """Equal to `tolerance` units where ours has data; masked (NaN, or 0) for them where it has none."""
    known = stored_values != nodata
    assert known.any()
    np.testing.assert_allclose(theirs[known], stored_values[known], rtol=0, atol=tolerance)
    assert not np.nan_to_num(theirs[~known]).any()
