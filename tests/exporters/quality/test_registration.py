"""Phase correlation of outlines beside a plain search over all shifts, on made and on real images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from exporters.quality import registration
from exporters.quality.registration import Outline, Peak
from pipeline.modality import Band, Category, Modality

SIZE_PX = 64
SHIFTS = [(0, 0), (1, 0), (0, -2), (3, 5), (-7, 4), (-10, -9)]
VALUES = Modality("values", "Values", (Band("a"), Band("b")), "uint16", 0, valid_range=(1, 65535))
CLASSES = Modality("classes", "Classes", (Band("c"),), "uint8", 255, categories=(Category(1, "x"), Category(2, "y")))


def texture(seed: int, size_px: int = 256) -> np.ndarray:
    """Random patches of a few pixels, 0 to 1, without a period."""
    random = np.random.default_rng(seed)
    y, x = np.fft.fftfreq(size_px)[:, None], np.fft.rfftfreq(size_px)[None]
    smooth = np.fft.irfft2(np.fft.rfft2(random.normal(size=(size_px, size_px))) * np.exp(-(y**2 + x**2) / 0.01))
    return (smooth - smooth.min()) / np.ptp(smooth)


def window(field: np.ndarray, dy: int = 0, dx: int = 0, size_px: int = SIZE_PX) -> np.ndarray:
    """The middle of a field, its content moved `dy` rows south and `dx` columns east."""
    top, left = (len(field) - size_px) // 2 - dy, (len(field) - size_px) // 2 - dx
    return field[top : top + size_px, left : left + size_px]


def stored(field: np.ndarray) -> np.ndarray:
    """Two bands that share the field's edges and nothing else."""
    return np.stack([1000 + 9000 * field, 30_000 - 20_000 * field**2]).astype(np.uint16)


def classes(field: np.ndarray) -> np.ndarray:
    return np.where(field > 0.5, 1, 2).astype(np.uint8)[None]


def outlined(modality: Modality, values: np.ndarray) -> Outline:
    result = registration.outline(modality, values)
    assert result is not None
    return result


def found_shift(reference: Outline, other: Outline) -> Peak:
    return registration.peak(registration.spectrum(reference), registration.spectrum(other), reference.shape)


def searched_shift(reference: Outline, other: Outline) -> tuple[int, int]:
    """The shift with the highest correlation coefficient over what both see, one shift after the other."""
    best, reach, size = (-2.0, 0, 0), registration.reach_px(len(reference)), len(reference)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            seen = other[max(0, dy) : size + min(0, dy), max(0, dx) : size + min(0, dx)]
            below = reference[max(0, -dy) : size + min(0, -dy), max(0, -dx) : size + min(0, -dx)]
            best = max(best, (float(np.corrcoef(seen.ravel(), below.ravel())[0, 1]), dy, dx))
    return best[1:]


@pytest.mark.parametrize("shift", SHIFTS)
def test_the_shift_is_found_and_a_plain_search_finds_it_too(shift: tuple[int, int]) -> None:
    field = texture(3)
    reference, moved = outlined(VALUES, stored(window(field))), window(field, *shift)
    for other in (outlined(VALUES, stored(moved)[::-1]), outlined(CLASSES, classes(moved))):
        peak = found_shift(reference, other)
        assert peak.is_confident
        assert (peak.dy_px, peak.dx_px) == shift == searched_shift(reference, other)


def test_different_places_hardly_ever_agree() -> None:
    reference = outlined(VALUES, stored(window(texture(0))))
    peaks = [found_shift(reference, outlined(VALUES, stored(window(texture(seed))))) for seed in range(1, 101)]
    assert sum(peak.is_confident for peak in peaks) <= 2


def test_nodata_is_no_edge() -> None:
    field = texture(5)
    here, there = stored(window(field)), stored(window(field, 2, -1))
    here[:, 10:30, 5:25] = 0
    there[:, 40:60, 30:62] = 0
    peak = found_shift(outlined(VALUES, here), outlined(VALUES, there))
    assert peak.is_confident and (peak.dy_px, peak.dx_px) == (2, -1)
    hole = outlined(VALUES, np.where(here == 0, here, 500).astype(np.uint16) + stored(window(field)) * (here != 0))
    assert not hole[12:28, 7:23].any()


def test_there_is_nothing_to_compare_without_edges_or_data() -> None:
    flat = np.full((2, SIZE_PX, SIZE_PX), 7, np.uint16)
    mostly_nodata = stored(window(texture(1)))
    mostly_nodata[:, 20:] = 0
    assert registration.outline(VALUES, flat) is None
    assert registration.outline(VALUES, mostly_nodata) is None
    assert registration.outline(CLASSES, np.ones((1, SIZE_PX, SIZE_PX), np.uint8)) is None
    one_band = stored(window(texture(1)))
    one_band[0] = 0
    assert registration.outline(VALUES, one_band) is not None, "the other band tells"


def read(path: Path, bands: list[int]) -> np.ndarray:
    with rasterio.open(path) as data:
        return np.asarray(data.read(bands)).clip(1).astype(np.uint16)


@pytest.mark.parametrize("shift", [(0, 0), (3, -2)])
def test_real_scenes_of_two_levels_agree(shared_data: Path, shift: tuple[int, int]) -> None:
    dy, dx = shift
    confident = 0
    for path in sorted((shared_data / "scenes/S2L1C").glob("*.tif")):
        colours, infrared = read(path, [4, 3, 2]), read(shared_data / "scenes/S2L2A" / path.name, [8])
        for top in range(8, 88, 26):
            here = outlined(VALUES, colours[:, top : top + 128, top : top + 128])
            there = outlined(VALUES, infrared[:, top - dy : top - dy + 128, top - dx : top - dx + 128])
            peak = found_shift(here, there)
            confident += peak.is_confident
            assert not peak.is_confident or max(abs(peak.dy_px - dy), abs(peak.dx_px - dx)) <= 1
    assert confident >= 8
