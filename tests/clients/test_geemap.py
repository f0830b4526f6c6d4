"""geemap's export of an image to NumPy, beside our corpus."""

from __future__ import annotations

import numpy as np
import pytest

from tests.clients.chips import SAME_LATTICE, same, scene, stored, surface_chips

pytestmark = pytest.mark.slow


def test_an_array_of_the_chips_grid_is_that_of_the_corpus(client, corpus):
    geemap = pytest.importorskip("geemap", reason="geemap is not installed: pip install geemap")
    for chip in surface_chips(corpus):
        a, b, c, d, e, f = chip.grid.transform
        affine = {"scaleX": a, "shearX": b, "translateX": c, "shearY": d, "scaleY": e, "translateY": f}
        size = dict(zip(("height", "width"), chip.grid.shape_yx, strict=True))
        grid = {"dimensions": size, "affineTransform": affine, "crsCode": chip.grid.crs}
        array = geemap.ee_to_numpy(scene(chip), bands=list(SAME_LATTICE), grid=grid)
        for index, band in enumerate(SAME_LATTICE):
            same(stored(corpus, "sentinel2", band, chip), np.asarray(array[..., index]), 0, 0)
