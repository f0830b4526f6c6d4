"""Numbers that files have as the layer stores them are kept as they are, and are what the way by float64 gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporters.sources import Local, source_of
from flows import file_source, stages
from pipeline.encoding import stored_values
from pipeline.errors import Fatal
from pipeline.manifest import Manifest
from pipeline.modality import Modality
from pipeline.progress import Silent
from tests.flows.file_corpora import build, raster, settings

SIZE_PX = 16
CLASSES = {str(code): f"class {code}" for code in range(1, 6)}


def numbers(dtype: str, bands: int = 2) -> np.ndarray:
    values = np.arange(bands * SIZE_PX**2).reshape(bands, SIZE_PX, SIZE_PX) % 5 + 1
    if dtype.startswith("f"):
        values = values * 1.1 - 2
        values[0, 0, :3] = np.nan, np.inf, -0.0
    values[:, 4, 4], values[0, 5, 5] = 9, 7
    return values.astype(dtype)


def read(tmp_path: Path, values: np.ndarray, layer: dict[str, Any], file: dict[str, Any]) -> tuple[Modality, Any, Any]:
    """The layer of one file, what it has of the only chip as stored, and by way of physical values."""
    raster(tmp_path / "files" / "a.tif", values, **file)
    chosen = settings(tmp_path, tmp_path / "files", {"numbers": {"files": "{place}.tif"} | layer}, SIZE_PX)
    with stages.earth_engine(chosen) as engine:
        stages.sample(chosen, None, Silent())
        stages.anchor(chosen, engine, Silent())
    (chip,) = Manifest.read(tmp_path / "corpus" / "manifest.parquet")
    (modality,) = file_source.layers(chosen)
    source = source_of(modality)
    assert isinstance(source, Local)
    assert not source.waits(chip)
    return modality, source.stored(chip), source.values(chip)


@pytest.mark.parametrize(
    ("dtype", "layer", "file"),
    [
        ("uint16", {}, {"nodata": 9}),
        ("uint16", {}, {}),
        ("int8", {"nodata": 9}, {}),
        ("uint8", {"nodata": 9}, {"nodata": 7}),
        ("int32", {"nodata": -5}, {"nodata": 9}),
        ("float32", {}, {"nodata": 9}),
        ("float32", {}, {}),
        ("float32", {"nodata": 9}, {}),
        ("float32", {"nodata": 9.1}, {"nodata": 7}),
        ("float64", {}, {"nodata": float("nan")}),
        ("uint8", {"classes": CLASSES | {"7": "seven", "9": "nine"}, "bands": [1]}, {}),
        ("uint8", {"classes": CLASSES, "bands": [1]}, {"nodata": 9}),
    ],
)
def test_both_ways_give_the_same_bytes(tmp_path: Path, dtype: str, layer: dict[str, Any], file: dict[str, Any]) -> None:
    modality, stored, physical = read(tmp_path, numbers(dtype), layer, file)
    expected = stored_values(modality, physical)
    assert (stored.dtype, stored.shape) == (expected.dtype, expected.shape)
    assert stored.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("dtype", "layer", "file"),
    [
        ("uint8", {"dtype": "int16"}, {}),
        ("uint8", {"resampling": "nearest"}, {}),
    ],
)
def test_others_are_computed(tmp_path: Path, dtype: str, layer: dict[str, Any], file: dict[str, Any]) -> None:
    _, stored, _ = read(tmp_path, numbers(dtype), layer, file)
    assert stored is None


def test_data_that_equal_nodata_are_refused_both_ways(tmp_path: Path) -> None:
    first = {"files": "{place}.tif"}
    raster(tmp_path / "files" / "a.tif", numbers("uint8"), nodata=0)
    raster(tmp_path / "files" / "b.tif", numbers("uint8") * 0, at=(700_000.0, 5_600_000.0))
    with pytest.raises(Fatal, match=r"b.tif has 0 as data, which layer 'numbers' \(uint8, nodata 0\) cannot hold"):
        build(settings(tmp_path, tmp_path / "files", {"numbers": first}, SIZE_PX))
