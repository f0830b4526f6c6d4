"""GEO-Bench's own files: bands, labels, partitions and statistics as they are; nothing of a pickle runs."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("h5py")

import h5py

from exporters.formats.benchmarks.allowed_pickle import read_pickle, read_pickle_text
from exporters.formats.benchmarks.data_formats import open_images
from exporters.formats.benchmarks.labelled_images import ReadOptions
from pipeline.errors import Fatal
from tests.exporters.formats.benchmarks.geobench_files import SENTINEL_2, write_task

RANDOM = np.random.default_rng(0)


def images(count: int, bands: int, side: int = 8, kind: str = "int16") -> np.ndarray:
    """Band i is about 100 * (i + 1)."""
    levels = 100 * (1 + np.arange(bands))[None, :, None, None]
    return (levels + RANDOM.integers(0, 9, (count, bands, side, side))).astype(kind)


def test_classes_partitions_and_both_mappings(tmp_path: Path) -> None:
    values, labels = images(10, 13), np.arange(10) % 3
    folder = write_task(tmp_path / "m-eurosat", "single", values, labels)
    corrected = open_images(f"geobench:{folder}")
    published = open_images(f"geobench:{folder}", ReadOptions(bands="published", partition="0.50x_train"))
    assert (corrected.kind, corrected.names) == ("single-label", ("field", "wood", "town"))
    assert [len(part) for part in corrected.parts.values()] == [6, 2, 2]
    assert [len(part) for part in published.parts.values()] == [3, 2, 2]
    assert (corrected.facts["bands"], published.facts["bands"]) == ("corrected", "published")
    places = {name: index for index, name in enumerate(corrected.bands)}
    assert corrected.bands[8:] == ("B9", "B10", "B11", "B12", "B8A") and published.bands[8:10] == ("B8A", "B9")
    image, label = corrected.read(corrected.parts["test"][1])
    np.testing.assert_array_equal(image, values[9])
    assert (image.dtype, int(label)) == (np.float32, 0)
    assert corrected.moments is not None
    assert corrected.moments["B8A"][0] == pytest.approx(values[:, places["B8A"]].mean())
    assert corrected.moments["B8A"][0] > corrected.moments["B12"][0] > corrected.moments["B9"][0]


def test_several_labels_without_b10(tmp_path: Path) -> None:
    bands = tuple(name for name in SENTINEL_2 if not name.startswith("10"))
    labels = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 1]])
    folder = write_task(tmp_path / "m-bigearthnet", "multi", images(5, 12, 12, "float32"), labels, bands)
    found = open_images(f"geobench:{folder}")
    assert found.kind == "multi-label" and found.names == ("field", "wood", "town")
    assert [found.read(index)[1].tolist() for index in range(5)] == labels.tolist()
    assert found.channels(("B8", "B10", "B8A")) == ((7, None, 8), ("B10",))


def test_masks_of_dated_bands_with_codes_to_ignore(tmp_path: Path) -> None:
    bands = tuple(name for name in SENTINEL_2 if not name.startswith("10")) + ("Cloud Probability",)
    labels = RANDOM.integers(0, 3, (5, 8, 8))
    folder = write_task(tmp_path / "m-cashew-plant", "segmentation", images(5, 13), labels, bands, date="_2019-11-05")
    found = open_images(f"geobench:{folder}", ReadOptions(ignore="0"))
    assert found.bands[0] == "B1" and found.bands[-1] == "Cloud Probability" and found.kind == "single-label"
    np.testing.assert_array_equal(found.read(2)[1], np.where(labels[2] == 0, -1, labels[2]))
    np.testing.assert_array_equal(open_images(f"geobench:{folder}").read(2)[1], labels[2])


@pytest.mark.parametrize("factor", [1.0, 1e4])
def test_so2sat_repeats_bands_and_its_statistics_are_those_of_its_values(tmp_path: Path, factor: float) -> None:
    bands = tuple(name for name in SENTINEL_2 if name[:2] not in ("01", "09", "10"))
    values = images(5, 10, 8, "float32") / 1e4
    folder = write_task(tmp_path / "m-so2sat", "single", values, np.arange(5) % 3, bands, factor=factor)
    found = open_images(f"geobench:{folder}")
    assert found.moments is not None and found.unit == 1.0
    assert found.moments["B2"][0] == pytest.approx(values[:, 0].mean(), rel=1e-5)
    places, lacking = found.channels(("B1", "B2", "B8A", "B9"))
    assert places == (0, 0, found.bands.index("B8A"), found.bands.index("B8A")) and not lacking


class Harmful:
    """Makes a file when it is unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_names_anything_else_is_refused_and_not_run(tmp_path: Path) -> None:
    folder = write_task(tmp_path / "m-eurosat", "single", images(5, 13), np.arange(5) % 3)
    payload = pickle.dumps({"label": Harmful(tmp_path / "made"), "bands_order": []})
    with h5py.File(folder / "sample-003.hdf5", "a") as file:
        file.attrs["pickle"] = str(payload)
    found = open_images(f"geobench:{folder}")
    with pytest.raises(Fatal, match=r"sample-003.hdf5 holds a pickle that names (posix|nt).mkdir.*it was not run"):
        found.read(3)
    (folder / "task_specs.pkl").write_bytes(payload)
    with pytest.raises(Fatal, match="task_specs.pkl holds a pickle that names"):
        open_images(f"geobench:{folder}")
    assert not (tmp_path / "made").exists()


def test_an_attribute_that_is_code_is_no_text_of_bytes(tmp_path: Path) -> None:
    for text in (f"__import__('os').mkdir({str(tmp_path / 'made')!r})", "[1, 2]", "b'", "("):
        with pytest.raises(Fatal, match="x is damaged: its attribute 'pickle' is no text of bytes"):
            read_pickle_text(text, "x")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "content",
    [np.array([{}], dtype=object), np.ma.array([1]), np.random.default_rng(0), Path, print, pickle.loads],
    ids=["objects", "subclass", "generator", "class", "builtin", "loads"],
)
def test_what_is_off_the_list(content: Any) -> None:
    with pytest.raises(Fatal, match="holds a pickle that names"):
        read_pickle(pickle.dumps(content), "x")


def test_plain_numbers_and_arrays_come_through() -> None:
    for content in (np.int64(3), np.arange(6).reshape(2, 3), np.array([1.5]), {"a": [1, "b", None]}, np.array(["x"])):
        found = read_pickle(pickle.dumps(content), "x")
        np.testing.assert_array_equal(found, content)


def test_damage_is_a_sentence(tmp_path: Path) -> None:
    folder = write_task(tmp_path / "m-eurosat", "single", images(5, 13), np.arange(5) % 3)
    specs = (folder / "task_specs.pkl").read_bytes()
    with pytest.raises(Fatal, match=r"unknown partition of m-eurosat '0.5x_train'; did you mean '0.50x_train'"):
        open_images(f"geobench:{folder}", ReadOptions(partition="0.5x_train"))
    with pytest.raises(Fatal, match="unknown mapping bands 'right'"):
        open_images(f"geobench:{folder}", ReadOptions(bands="right"))
    (folder / "task_specs.pkl").write_bytes(specs[:40])
    with pytest.raises(Fatal, match="task_specs.pkl is damaged"):
        open_images(f"geobench:{folder}")
    (folder / "task_specs.pkl").write_bytes(specs)
    (folder / "sample-004.hdf5").write_bytes(b"no")
    found = open_images(f"geobench:{folder}")
    with pytest.raises(Fatal, match="sample-004.hdf5 is damaged or no sample of GEO-Bench"):
        found.read(4)
    (folder / "default_partition.json").write_text('{"train": ["../secret"], "valid": [], "test": []}')
    with pytest.raises(Fatal, match="names no samples of its folder"):
        open_images(f"geobench:{folder}")
    with pytest.raises(Fatal, match="is no task of GEO-Bench"):
        open_images(f"geobench:{tmp_path}")
