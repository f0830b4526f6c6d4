"""Pictures follow the modality's own display, and nodata cannot be mistaken for a value."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.drawing import draw, draw_all, nodata_pattern, rgb_of
from pipeline.errors import Fatal
from pipeline.modality import Band, Category, Display, Modality
from tests.pipeline.chips import CLIMATE, COVER, OPTICAL

HEIGHT = Modality(
    "height", "Height", (Band("h", "m"),), "int16", -32768, display=Display("hillshade", ("h",), 0.0, 4000.0)
)


def test_rgb_takes_bands_and_limits_from_the_display() -> None:
    stored = np.array([[[2500, 5000]], [[1, 9000]], [[77, 77]]], dtype=np.uint16)
    picture = draw(OPTICAL, stored)
    assert picture.dtype == np.uint8 and picture.shape == (1, 2, 3)
    assert picture[0, 0].tolist() == [128, 0, 128] and picture[0, 1].tolist() == [255, 255, 255]


def test_equal_limits_stretch_between_percentiles() -> None:
    grey = replace(OPTICAL, display=Display("grey", ("green",), 0.0, 0.0))
    stored = np.broadcast_to(np.arange(1, 10001, dtype=np.uint16).reshape(100, 100), (3, 100, 100))
    picture = draw(grey, stored)
    assert picture[0, 0, 0] == 0 and picture[-1, -1, 0] == 255 and abs(int(picture[50, 0, 0]) - 128) <= 2


def test_a_grey_display_of_several_bands_is_several_pictures() -> None:
    both = replace(OPTICAL, display=Display("grey", ("red", "green"), 0.0, 0.5))
    stored = np.stack([np.full((2, 2), value, dtype=np.uint16) for value in (2500, 5000, 1)])
    assert [(name, int(picture[0, 0, 0])) for name, picture in draw_all(both, stored)] == [("red", 128), ("green", 255)]
    assert [name for name, _ in draw_all(OPTICAL, stored)] == [""]


def test_nodata_in_a_shown_band_is_checkered_and_elsewhere_is_not() -> None:
    stored = np.full((3, 16, 16), 3000, dtype=np.uint16)
    stored[1, :8] = 0
    stored[2] = 0
    picture = draw(OPTICAL, stored)
    assert np.array_equal(picture[:8], nodata_pattern(16, 16)[:8])
    assert len(np.unique(picture[8:].reshape(-1, 3), axis=0)) == 1


def test_all_nodata_draws_in_every_style() -> None:
    for modality in (OPTICAL, COVER, HEIGHT, replace(OPTICAL, display=Display("grey", (), 0.0, 0.0))):
        empty = np.full((len(modality.bands), 8, 8), modality.fill, dtype=modality.dtype)
        assert np.array_equal(draw(modality, empty), nodata_pattern(8, 8))


def test_nan_is_nodata() -> None:
    floats = Modality("db", "dB", (Band("a"),), "float32", float("nan"), display=Display("grey", (), -20, 0))
    picture = draw(floats, np.array([[[np.nan, -10.0]]], dtype=np.float32))
    assert picture[0, 0].tolist() == nodata_pattern(1, 1)[0, 0].tolist() and picture[0, 1].tolist() == [128] * 3


def test_classes_take_their_colours_and_illegal_codes_shout() -> None:
    picture = draw(COVER, np.array([[[10, 20, 99]]], dtype=np.uint8))
    assert picture[0].tolist() == [[0, 100, 0], [255, 187, 34], [255, 0, 255]]


def test_without_a_style_classes_are_classes_and_the_rest_is_grey() -> None:
    assert draw(replace(COVER, display=Display()), np.array([[[10]]], dtype=np.uint8))[0, 0].tolist() == [0, 100, 0]
    data = replace(OPTICAL, display=Display())
    ramp = np.broadcast_to(np.arange(1, 102, dtype=np.uint16), (3, 1, 101))
    assert draw(data, ramp)[0, [0, 50, 100], 0].tolist() == [0, 128, 255]


def test_hillshade_lights_the_north_west_slopes() -> None:
    y, x = np.mgrid[:64, :64]
    cone = (600 - 10 * np.hypot(y - 32, x - 32)).astype(np.int16)[None]
    picture = draw(HEIGHT, cone).astype(int).sum(axis=-1)
    assert picture[16, 16] > picture[32, 8] > picture[48, 48]
    flat = draw(HEIGHT, np.full((1, 8, 8), 500, dtype=np.int16))
    assert len(np.unique(flat.reshape(-1, 3), axis=0)) == 1


def test_coarser_pixels_make_gentler_slopes() -> None:
    slope = np.broadcast_to(400 - np.arange(32, dtype=np.int16) * 5, (1, 32, 32))
    assert draw(HEIGHT, slope, 10.0)[16, 16].sum() < draw(HEIGHT, slope, 100.0)[16, 16].sum()


def test_image_level_layers_and_other_shapes_are_refused() -> None:
    with pytest.raises(Fatal, match="one value per chip"):
        draw(CLIMATE, np.zeros(2, dtype=np.float32))
    with pytest.raises(Fatal, match=r"\(3, h, w\)"):
        draw(OPTICAL, np.zeros((2, 4, 4), dtype=np.uint16))


@pytest.mark.parametrize("colour", ["green", "#12345", "#12345g", ""])
def test_colours_that_are_none_are_refused(colour: str) -> None:
    with pytest.raises(Fatal, match="no colour"):
        rgb_of(colour)
    with pytest.raises(Fatal, match="no colour"):
        draw(replace(COVER, categories=(Category(1, "x", colour),)), np.ones((1, 2, 2), dtype=np.uint8))


def test_gentle_relief_still_shows() -> None:
    y, x = np.mgrid[:64, :64]
    hills = (500 + 8 * np.sin(x / 5) * np.sin(y / 7)).astype(np.int16)[None]
    picture = draw(HEIGHT, hills).astype(int).sum(axis=-1)
    assert np.percentile(picture, 95) - np.percentile(picture, 5) > 60
