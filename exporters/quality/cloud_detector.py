"""Clouds in top-of-atmosphere reflectance by s2cloudless, whose package brings the model; None where it is absent.

It is optional: `pip install 'geocorpus[clouds]'`. The package, model included, is under CC BY-SA 4.0.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

PACKAGE = "s2cloudless"
# The threshold of the probability is the package's default. Ours are the radii, in averaged pixels, over which it is
# averaged and by which clouds are widened, and how many pixels are averaged into one, for speed.
_THRESHOLD, _AVERAGE_OVER_PX, _DILATION_PX = 0.4, 4, 2
_PIXELS_A_SIDE = 4


def clouds(reflectance: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    """Where clouds are, (y, x), in (10, y, x) of bands 1, 2, 4, 5, 8, 8A, 9, 10, 11 and 12; None without the package.

    A side that is no multiple of four pixels is filled up with its last ones.
    """
    detector = _detector()
    if detector is None:
        return None
    _, height, width = reflectance.shape
    coarse = _averaged(reflectance)
    found = np.asarray(detector.get_cloud_masks(np.moveaxis(coarse, 0, -1)[None]))[0] > 0
    fine = found.repeat(_PIXELS_A_SIDE, axis=0).repeat(_PIXELS_A_SIDE, axis=1)
    return np.asarray(fine[:height, :width], dtype=np.bool_)


def _averaged(values: NDArray[np.float64]) -> NDArray[np.float64]:
    short_y, short_x = (-side % _PIXELS_A_SIDE for side in values.shape[1:])
    filled = np.pad(values, ((0, 0), (0, short_y), (0, short_x)), mode="edge")
    bands, height, width = filled.shape
    blocks = filled.reshape(bands, height // _PIXELS_A_SIDE, _PIXELS_A_SIDE, width // _PIXELS_A_SIDE, _PIXELS_A_SIDE)
    return np.asarray(blocks.mean(axis=(2, 4)))


@lru_cache(maxsize=1)
def _detector() -> Any:
    if find_spec(PACKAGE) is None:
        return None
    maker = import_module(PACKAGE).S2PixelCloudDetector
    return maker(threshold=_THRESHOLD, average_over=_AVERAGE_OVER_PX, dilation_size=_DILATION_PX)
