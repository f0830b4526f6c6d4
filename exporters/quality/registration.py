"""The shift between two layers of a chip in whole pixels, by phase correlation of their outlines.

Layers of different sensors share edges, not values, so gradients are compared (for classes, the edges between them).
Phase correlation after Kuglin and Hines (1975), "The phase correlation image alignment method".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.modality import Modality

SMALLEST_PX = 32  # a smaller chip has too few edges
MOST_BANDS = 8
_LONGEST_PX = 16
_LEAST_VALID = 0.5
# Frequencies above a fifth of a cycle per pixel contain more resampling and speckle than ground.
_PASS_CYCLES_PX = 0.2
_STRONGEST_SHARE = 0.99  # so that one bright roof does not dominate
# Values within this radius belong to the peak; values beyond it are noise.
_PEAK_RADIUS_PX = 3
# Of pairs of windows from different places 0.2 % reached both at 128 px and 1.5 % at 64 px: too few, with too different
# shifts, to flag a layer (6,144 and 14,600 pairs of three real scenes: Sentinel-2 with radar, elevation, land cover and
# itself).
_LEAST_SHARPNESS, _LEAST_LEAD = 6.0, 1.7
Outline = NDArray[np.float64]


@dataclass(frozen=True)
class Peak:
    """The shift of a layer: its content is `dy_px` rows south and `dx_px` columns east of the reference's.

    `sharpness` is the peak's height in standard deviations of the surface around it, `lead` its ratio to the next peak.
    """

    dy_px: int
    dx_px: int
    sharpness: float
    lead: float

    @property
    def is_confident(self) -> bool:
        """Whether noise is unlikely to give such a peak."""
        return self.sharpness >= _LEAST_SHARPNESS and self.lead >= _LEAST_LEAD


def outline(modality: Modality, stored: NDArray[np.generic]) -> Outline | None:
    """Where the stored values (bands, y, x) of a chip change: (y, x) float64, mean 0, and 0 where they are not known.

    None where there is nothing to compare: mostly nodata, or constant.
    """
    result = [_outline_of(modality, band) for band in stored[_sampled_bands(len(stored))]]
    bands = [band for band in result if band is not None]
    return np.mean(bands, axis=0) if bands else None


def _sampled_bands(bands: int) -> list[int]:
    """Band indices: all, or `MOST_BANDS` at equal distances."""
    return sorted({round(index) for index in np.linspace(0, bands - 1, min(bands, MOST_BANDS)).tolist()})


def _outline_of(modality: Modality, band: NDArray[np.generic]) -> Outline | None:
    valid = modality.valid(band)
    known = valid.copy()
    known[1:] &= valid[:-1]
    known[:-1] &= valid[1:]
    known[:, 1:] &= valid[:, :-1]
    known[:, :-1] &= valid[:, 1:]
    if np.count_nonzero(known) < _LEAST_VALID * known.size:
        return None
    strength = np.where(known, _edges(band) if modality.categories else _slopes(band), 0.0)
    count = int(np.count_nonzero(known))
    strongest = _strong(strength[known]) or float(strength.max())
    if strongest == 0:
        return None
    strength = np.minimum(strength / strongest, 1.0)  # 0 where not known
    return np.where(known, strength - strength.sum() / count, 0.0)


def _strong(strengths: Outline) -> float:
    """The quantile that all but the strongest edges stay below."""
    index = int(_STRONGEST_SHARE * (strengths.size - 1))
    return float(np.partition(strengths, index)[index])


def _slopes(band: NDArray[np.generic]) -> Outline:
    """The length of the gradient by central differences, (y, x) float64; 0 along the border."""
    values = np.asarray(band, dtype=np.float64)
    south, east = np.zeros(values.shape), np.zeros(values.shape)
    south[1:-1] = values[2:] - values[:-2]
    east[:, 1:-1] = values[:, 2:] - values[:, :-2]
    # np.hypot guards against overflow, which cannot occur here, and takes ten times as long.
    return np.sqrt(south * south + east * east)


def _edges(band: NDArray[np.generic]) -> Outline:
    """1 on both sides of a border between classes, else 0: (y, x) float64."""
    result = np.zeros(band.shape)
    rows, columns = band[1:] != band[:-1], band[:, 1:] != band[:, :-1]
    result[1:][rows] = result[:-1][rows] = 1.0
    result[:, 1:][columns] = result[:, :-1][columns] = 1.0
    return result


def reach_px(size_px: int) -> int:
    """The longest shift searched for, in pixels, in each direction."""
    return min(_LONGEST_PX, size_px // 4)


def spectrum(outline_yx: Outline) -> NDArray[np.complex128]:
    """The Fourier transform of an outline, (y, x // 2 + 1) complex128. A Hann window hides the chip's own border."""
    return np.fft.rfft2(outline_yx * _window(outline_yx.shape))


def peak(reference: NDArray[np.complex128], layer: NDArray[np.complex128], shape_yx: tuple[int, int]) -> Peak:
    """The shift at which two outlines agree best, from their spectra; `shape_yx` is the outlines' shape."""
    cross = layer * np.conj(reference)
    cross /= np.maximum(np.abs(cross), np.finfo(np.float64).tiny)
    surface = np.fft.irfft2(cross * _pass(shape_yx), shape_yx)
    reach = reach_px(min(shape_yx))
    near = np.roll(surface, (reach, reach), axis=(0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    row, column = divmod(int(near.argmax()), near.shape[1])
    others = near[_beyond(near.shape, row, column)]
    highest, spread = float(near[row, column]), float(others.std())
    return Peak(row - reach, column - reach, _ratio(highest, spread), _ratio(highest, float(others.max())))


def _ratio(value: float, other: float) -> float:
    return value / other if other > 0 else float("inf")


def _beyond(shape_yx: tuple[int, ...], row: int, column: int) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[: shape_yx[0], : shape_yx[1]]
    return np.asarray((abs(rows - row) > _PEAK_RADIUS_PX) | (abs(columns - column) > _PEAK_RADIUS_PX))


@lru_cache(maxsize=8)
def _window(shape_yx: tuple[int, int]) -> Outline:
    return np.outer(np.hanning(shape_yx[0]), np.hanning(shape_yx[1]))


@lru_cache(maxsize=8)
def _pass(shape_yx: tuple[int, int]) -> Outline:
    """A Gaussian low-pass over the frequencies of `rfft2`, (y, x // 2 + 1) float64."""
    y, x = np.fft.fftfreq(shape_yx[0])[:, None], np.fft.rfftfreq(shape_yx[1])[None]
    return np.asarray(np.exp(-(y**2 + x**2) / (2 * _PASS_CYCLES_PX**2)))
