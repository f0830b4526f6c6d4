"""Small files to GEO-Bench's layout, written without its package: stand-ins of its classes are pickled by its names."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from exporters.formats.benchmarks.geobench_bands import _SENTINEL_2

SENTINEL_2 = tuple(_SENTINEL_2)


class _Kept:
    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)


@contextmanager
def pretended(*names: str) -> Iterator[dict[str, type]]:
    """Classes called `module.name` that can be pickled, and are gone afterwards."""
    made: dict[str, type] = {}
    before = dict(sys.modules)
    for name in names:
        module, _, short = name.rpartition(".")
        for part in (module.split(".")[0], module):
            sys.modules.setdefault(part, ModuleType(part))
        made[short] = type(short, (_Kept,), {"__module__": module, "__qualname__": short})
        setattr(sys.modules[module], short, made[short])
    try:
        yield made
    finally:
        for name in set(sys.modules) - set(before):
            del sys.modules[name]


def write_task(
    folder: Path, kind: str, images: np.ndarray, labels: np.ndarray, bands: tuple[str, ...] = SENTINEL_2,
    classes: tuple[str, ...] = ("field", "wood", "town"), factor: float = 1.0, date: str = "",
) -> Path:  # fmt: skip
    """A task of `images` (samples, bands, y, x): 60 % train, and 20 % of both others. Statistics are times `factor`."""
    import h5py

    folder.mkdir(parents=True)
    names = [f"sample-{index:03d}" for index in range(len(images))]
    wanted = ("geobench.dataset.Sentinel2", "geobench.dataset.SegmentationClasses", "geobench.task.TaskSpecifications",
              "geobench.label.Classification", "geobench.label.MultiLabelClassification")  # fmt: skip
    with pretended(*wanted) as made:
        for name, image, label in zip(names, images, labels, strict=True):
            about: dict[str, Any] = {
                f"{band}{date}": {"band_info": made["Sentinel2"](name=band), "transform": None, "crs": None}
                for band in bands
            }
            with h5py.File(folder / f"{name}.hdf5", "w") as file:
                for band, values in zip(bands, image, strict=True):
                    file.create_dataset(f"{band}{date}", data=values)
                order = [f"{band}{date}" for band in bands]
                if kind == "segmentation":
                    file.create_dataset("label", data=label)
                    order.append("label")
                    about["label"] = {"band_info": made["SegmentationClasses"](name="label")}
                else:
                    about["label"] = label if kind == "multi" else int(label)
                file.attrs["pickle"] = str(pickle.dumps({**about, "bands_order": order}))
        short = {"single": "Classification", "multi": "MultiLabelClassification", "segmentation": "SegmentationClasses"}
        key = "class_name" if kind == "multi" else "_class_names"
        described = made[short[kind]](n_classes=len(classes), **{key: list(classes)})
        infos = [made["Sentinel2"](name=band) for band in bands]
        specs = made["TaskSpecifications"](
            dataset_name=folder.name, bands_info=infos, label_type=described, patch_size=images.shape[-2:]
        )
        (folder / "task_specs.pkl").write_bytes(pickle.dumps(specs, protocol=4))
    ends = [int(len(names) * part) for part in (0.6, 0.8)]
    parts = {"train": names[: ends[0]], "valid": names[ends[0] : ends[1]], "test": names[ends[1] :]}
    (folder / "default_partition.json").write_text(json.dumps(parts))
    (folder / "0.50x_train_partition.json").write_text(json.dumps({**parts, "train": parts["train"][::2]}))
    stats = {
        band: {"mean": float(images[:, i].mean() * factor), "std": float(images[:, i].std() * factor)}
        for i, band in enumerate(bands)
    }
    (folder / "band_stats.json").write_text(json.dumps(stats))
    return folder
