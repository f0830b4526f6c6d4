"""Folders of classes and tables of paths: every kind of label that they can mean, parts, names of bands, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio

from exporters.formats.benchmarks.data_formats import open_images
from exporters.formats.benchmarks.labelled_images import LabelledImages, ReadOptions
from pipeline.errors import Fatal

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def write(path: Path, values: np.ndarray, names: tuple[str, ...] = (), nodata: float | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    with rasterio.open(path, "w", driver="GTiff", count=count, height=height, width=width, dtype=values.dtype.name,
                       nodata=nodata) as target:  # fmt: skip
        target.write(values)
        for index, name in enumerate(names):
            target.set_band_description(index + 1, name)
    return path


def filled(value: int, bands: int = 3) -> np.ndarray:
    return np.full((bands, 4, 4), value, np.uint16)


def table(folder: Path, options: ReadOptions | None = None, **columns: object) -> LabelledImages:
    rows = len(next(iter(columns.values())))  # type: ignore[arg-type]
    for row in range(rows):
        write(folder / f"{row}.tif", filled(row))
    pd.DataFrame({"path": [f"{row}.tif" for row in range(rows)], **columns}).to_parquet(folder / "t.parquet")
    return open_images(f"table:{folder / 't.parquet'}", options)


def test_folders_of_classes_with_and_without_parts(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for index, name in enumerate(("wood", "field")):
            write(tmp_path / "parted" / part / name / "1.tif", filled(index), ("B04", "b3", "B8A"), nodata=1)
            write(tmp_path / "whole" / name / f"{part}.tif", filled(index, 13))
    parted = open_images(f"folder:{tmp_path / 'parted'}")
    assert (parted.bands, parted.by_position, parted.names) == (("B4", "B3", "B8A"), False, ("field", "wood"))
    assert {part: len(rows) for part, rows in parted.parts.items()} == {"train": 2, "test": 2}
    image, label = parted.read(0)
    assert np.isnan(image).all() and parted.names[int(label)] == "field", "nodata is no number"
    whole = open_images(f"folder:{tmp_path / 'whole'}")
    assert whole.by_position and whole.bands[8] == "B8A" and len(whole.parts["all"]) == 4
    eurosat = open_images(f"eurosat:{tmp_path / 'whole'}")
    assert not eurosat.by_position and eurosat.bands[8:] == ("B9", "B10", "B11", "B12", "B8A")
    own = open_images(f"folder:{tmp_path / 'whole'}", ReadOptions(bands=",".join(f"B{n}" for n in range(1, 14))))
    assert own.bands[12] == "B13"


def test_tables_of_classes_labels_and_numbers(tmp_path: Path) -> None:
    assert table(tmp_path / "a", label=["x", "y", "x"]).names == ("x", "y")
    whole = table(tmp_path / "b", label=[3, 1, 3])
    assert (whole.kind, whole.names, int(whole.read(0)[1])) == ("single-label", ("1", "3"), 1)
    listed = table(tmp_path / "c", label=[["x", "z"], [], ["y"]])
    assert listed.kind == "multi-label" and listed.read(0)[1].tolist() == [1, 0, 1] and not listed.read(1)[1].any()
    texts = table(tmp_path / "d", label=["x;z", "y", ""])
    assert texts.names == ("x", "y", "z") and texts.read(0)[1].tolist() == [1, 0, 1]
    columns = table(tmp_path / "e", ReadOptions(label="x,y"), x=[0, 1, 1], y=[0, 0, 1])
    assert columns.kind == "multi-label" and columns.read(1)[1].tolist() == [1, 0]
    numbers = table(tmp_path / "f", ReadOptions(label="x,y"), x=[0.5, 1, 2], y=[0, np.nan, 1])
    assert numbers.kind == "regression" and np.isnan(numbers.read(1)[1][1]) and numbers.names == ("x", "y")
    assert table(tmp_path / "g", label=[0.5, 1.5, 2.5]).kind == "regression"
    counted = table(tmp_path / "h", ReadOptions(kind="regression"), label=[1, 2, 5], split=["train", "val", "test"])
    assert counted.kind == "regression" and counted.parts == {"train": (0,), "valid": (1,), "test": (2,)}


def test_tables_of_masks(tmp_path: Path) -> None:
    codes = np.array([[[0, 10], [20, 255]]], np.uint8)
    for row in range(2):
        write(tmp_path / "codes" / f"mask-{row}.tif", codes, nodata=255)
        write(tmp_path / "heights" / f"mask-{row}.tif", codes.astype(np.float32) / 2, nodata=5)
    paths = ["mask-0.tif", "mask-1.tif"]
    masks = table(tmp_path / "codes", ReadOptions(ignore="0"), label=paths)
    assert masks.kind == "single-label" and masks.names == ("10", "20")
    assert masks.read(1)[1].tolist() == [[-1, 0], [1, -1]]
    heights = table(tmp_path / "heights", label=paths)
    assert heights.kind == "regression" and heights.names == ("band 1",)
    np.testing.assert_array_equal(heights.read(0)[1], [[[0, np.nan], [10, 127.5]]])


def test_refusals_are_sentences(tmp_path: Path) -> None:
    for words, make in (
        ("parquet 'labl'; did you mean 'label'", lambda f: table(f, ReadOptions(label="labl"), label=["a"])),
        ("holds fractions, which are no classes", lambda f: table(f, ReadOptions(kind="single-label"), label=[0.5, 1])),
        ("more than 0 and 1", lambda f: table(f, ReadOptions(kind="multi-label", label="x,y"), x=[2, 1], y=[0, 1])),
        ("did you mean 'train'", lambda f: table(f, label=["a", "b"], split=["tran", "test"])),
        ("no rows of both train and test", lambda f: table(f, label=["a", "b"], split=["train", "train"])),
        ("without a label", lambda f: table(f, label=["a", None])),
        ("does not exist; give a path after table:", lambda f: open_images(f"table:{f}/none.csv")),
        ("says no format", lambda f: open_images("nowhere")),
        ("did you mean 'geobench'", lambda f: open_images("geobenh:x")),
        ("bands=B1,B2 names 2", lambda f: table(f, ReadOptions(bands="B1,B2"), label=["a", "b"])),
        ("is no list of codes", lambda f: ReadOptions(ignore="a").ignored),
    ):  # fmt: skip
        folder = tmp_path / str(abs(hash(words)))
        folder.mkdir()
        with pytest.raises(Fatal) as refusal:
            make(folder)
        assert words in str(refusal.value)
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Fatal, match=r"bad.csv cannot be read as a table"):
        open_images(f"table:{tmp_path / 'bad.csv'}")
    write(tmp_path / "x" / "a" / "1.tif", filled(1))
    (tmp_path / "x" / "b").mkdir()
    (tmp_path / "x" / "b" / "2.tif").write_bytes(b"II*\0")
    with pytest.raises(Fatal, match=r"2.tif is damaged or no image"):
        open_images(f"folder:{tmp_path / 'x'}").read(1)
    with pytest.raises(Fatal, match="not in folders of two classes"):
        open_images(f"folder:{tmp_path / 'x' / 'a'}")
