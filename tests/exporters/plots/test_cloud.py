"""Clouds and maps are drawn of whatever a column holds, and equal ones are equal bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from exporters.plots.cloud import write_cloud
from exporters.plots.colour_map import write_colour_map

COLUMNS = {
    "names": np.array(["forest", "", None, "sand"] * 5, object),
    "many": np.array([f"a name that is rather long, number {index}" for index in range(20)], object),
    "numbers": np.linspace(-1, 1, 20),
    "unknown": np.full(20, np.nan),
    "codes": np.arange(20) % 3,
    "whole": np.arange(20),
    "times": np.array(["2020-01-01", "NaT"] * 10, "datetime64[ms]"),
    "answers": np.array([True, False] * 10),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_any_kind_has_a_cloud(name: str, tmp_path: Path) -> None:
    xy = np.random.default_rng(0).standard_normal((20, 2))
    write_cloud(tmp_path / "cloud.png", xy, COLUMNS[name], name, "a cloud", "t-SNE")
    with Image.open(tmp_path / "cloud.png") as picture:
        assert picture.size == (1210, 880)


def test_a_map_of_the_earth_and_of_a_small_place(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    rgb = draws.random((50, 3))
    rgb[3] = np.nan
    for name, lonlat in (
        ("earth", draws.uniform((-180, -80), (180, 80), (50, 2))),
        ("place", draws.uniform((8, 47), (8.2, 47.1), (50, 2))),
        ("one", np.full((50, 2), 10.0)),
    ):
        for turn in ("first", "second"):
            write_colour_map(tmp_path / f"{name}-{turn}.png", lonlat, rgb, "chips", None)
        assert (tmp_path / f"{name}-first.png").read_bytes() == (tmp_path / f"{name}-second.png").read_bytes()
