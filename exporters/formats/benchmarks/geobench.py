"""GEO-Bench 1.0 in its own files: HDF5 of a sample each, beside partitions, statistics and a pickle about the task."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.formats.benchmarks.allowed_pickle import Record, read_pickle, read_pickle_text
from exporters.formats.benchmarks.geobench_bands import CORRECTED, fills_of, has_wrong_names, mapped
from exporters.formats.benchmarks.labelled_images import Image, LabelledImages, ReadOptions
from exporters.formats.mmearth_v001.hdf5 import h5py_module
from pipeline import durable
from pipeline.errors import Fatal, unknown_name

_SPECS, _PARTITION, _STATISTICS, _LABEL = "task_specs.pkl", "_partition.json", "band_stats.json", "label"
_DATED = re.compile(r"_\d{4}-\d{2}-\d{2}.*$")
_REFLECTANCE = 1e-4  # of one in the files
_BLUE, _MOST_REFLECTANCE = "02 - Blue", 10.0
_IN_REFLECTANCE = "m-so2sat"


@dataclass(frozen=True)
class Sample:
    """A file: `bands` by stored name, without dates, in their order, and the `label`."""

    bands: Mapping[str, NDArray[Any]]
    label: Any


def open_geobench(folder: Path, options: ReadOptions) -> LabelledImages:
    """The task in a folder such as `classification_v1.0/m-eurosat`.

    Raises `Fatal` for a folder that is none, an unknown partition, and a damaged or unsafe file.
    """
    if not (folder / _SPECS).is_file():
        raise Fatal(f"{folder} is no task of GEO-Bench, as it has no {_SPECS}; give a folder such as …/m-eurosat.")
    task = _state(read_pickle(_bytes(folder / _SPECS), str(folder / _SPECS)))
    name = str(task.get("dataset_name", folder.name))
    parts, samples = _partition(folder, options.partition)
    first = read_sample(folder / f"{samples[0]}.hdf5")
    mapping = options.bands or CORRECTED
    bands = mapped(name, tuple(first.bands), mapping)
    kind, names = _labels(_state(task.get("label_type")), first.label)
    used = {"partition": options.partition, "bands": mapping if has_wrong_names(name) else "as named"}
    stored = tuple(first.bands)

    def read(index: int) -> tuple[Image, NDArray[Any]]:
        path = folder / f"{samples[index]}.hdf5"
        return _read(path, stored, kind, options)

    return LabelledImages(
        name, kind, names, bands, parts, read, fills=fills_of(name), unit=1.0 if name == _IN_REFLECTANCE else
        _REFLECTANCE, moments=_moments(folder, name, dict(zip(stored, bands, strict=True))), facts=used,
    )  # fmt: skip


def read_sample(path: Path) -> Sample:
    """One file. Of a band with several dates the first is taken. Raises `Fatal` for a damaged or unsafe file."""
    h5py = h5py_module()
    try:
        with h5py.File(path, "r") as opened:
            about = read_pickle_text(opened.attrs["pickle"], str(path))
            order = [name for name in about.get("bands_order", opened.keys())]
            arrays = {name: np.array(opened[name]) for name in order}
    except (OSError, KeyError, AttributeError, TypeError) as error:
        raise Fatal(f"{path} is damaged or no sample of GEO-Bench; fetch it again.") from error
    masks = [array for name, array in arrays.items() if name.startswith(_LABEL)]
    bands: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        if not name.startswith(_LABEL):
            bands.setdefault(_DATED.sub("", name), array)
    if not masks and _LABEL not in about:
        raise Fatal(f"{path} has no label; fetch it again.")
    return Sample(bands, masks[0] if masks else about[_LABEL])


def _read(path: Path, stored: tuple[str, ...], kind: str, options: ReadOptions) -> tuple[Image, NDArray[Any]]:
    sample = read_sample(path)
    if tuple(sample.bands) != stored:
        raise Fatal(f"{path} has other bands than the first sample of its task; fetch it again.")
    image = np.stack([band.astype(np.float32) for band in sample.bands.values()])
    label = np.asarray(sample.label)
    if kind == "multi-label" or label.ndim < 2:
        return image, label.astype(np.int64)
    return image, np.where(np.isin(label, options.ignored), -1, label.astype(np.int64))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Fatal(f"{path} cannot be read: {error.strerror or error}.") from error


def _state(record: Any) -> dict[str, Any]:
    return record.state if isinstance(record, Record) else {}


def _partition(folder: Path, name: str) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """Indices by part, and the names of samples that they point to."""
    path = folder / f"{name}{_PARTITION}"
    if not path.is_file():
        known = sorted(found.name.removesuffix(_PARTITION) for found in folder.glob(f"*{_PARTITION}"))
        raise unknown_name(f"partition of {folder.name}", name, known)
    content = durable.read_as(path, dict[str, list[str]], "fetch it again")
    samples = [sample for part in ("train", "valid", "test") for sample in content.get(part, [])]
    if not samples or any(Path(sample).name != sample for sample in samples):
        raise Fatal(f"{path} names no samples of its folder; fetch it again.")
    starts = np.cumsum([0, *(len(content.get(part, [])) for part in ("train", "valid", "test"))])
    return {part: tuple(range(starts[i], starts[i + 1])) for i, part in enumerate(("train", "valid", "test"))}, samples


def _labels(label_type: dict[str, Any], label: Any) -> tuple[str, tuple[str, ...]]:
    """Kind and names of the labels, from the task's description and one of them."""
    names = label_type.get("_class_names") or label_type.get("class_name") or label_type.get("class_names")
    count = label_type.get("n_classes") or (len(names) if names else 0)
    if not count:
        raise Fatal("the task does not say how many classes it has; its task_specs.pkl is damaged, fetch it again.")
    kind = "multi-label" if np.ndim(label) == 1 else "single-label"
    return kind, tuple(str(name) for name in names or range(int(count)))


def _moments(folder: Path, task: str, names: Mapping[str, str]) -> dict[str, tuple[float, float]] | None:
    """Mean and deviation by band from the task's statistics, in the numbers of its images; None where there are none.

    Those of m-so2sat are 10,000 times its values in the published files, which is told from the mean of blue.
    """
    path = folder / _STATISTICS
    if not path.is_file():
        return None
    known = durable.read_object(path, "fetch it again")
    divisor = 1e4 if task == _IN_REFLECTANCE and float(known.get(_BLUE, {}).get("mean", 0)) > _MOST_REFLECTANCE else 1.0
    try:
        return {name: (float(known[stored]["mean"]) / divisor, float(known[stored]["std"]) / divisor)
                for stored, name in names.items()}  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise Fatal(f"{path} lacks statistics of a band; fetch it again.") from error
