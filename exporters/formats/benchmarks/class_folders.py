"""Folders of images, one per class, also below `train`, `val` and `test`; EuroSAT is one with an order of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.formats.benchmarks.band_names import EUROSAT, expected, named
from exporters.formats.benchmarks.labelled_images import EVERY, PARTS, Image, LabelledImages, ReadOptions
from exporters.formats.benchmarks.rasters import SUFFIXES, Raster, read_raster
from pipeline.errors import Fatal

_DIGITAL_NUMBER = 1e-4  # reflectance of one, in EuroSAT


def open_folder(folder: Path, options: ReadOptions) -> LabelledImages:
    """Images in `folder`/CLASS/, or in `folder`/PART/CLASS/. Bands are named by the files, by `bands`, or by number.

    Raises `Fatal` for a folder without any, or with a single class.
    """
    return _opened(folder, options, None)


def open_eurosat(folder: Path, options: ReadOptions) -> LabelledImages:
    """EuroSAT: 13 bands of Level 1C with B8A last, or JPEG in true colour. Raises as `open_folder` does."""
    return _opened(folder, options, EUROSAT)


def bands_of(raster: Raster, text: str, order: tuple[str, ...] | None, where: str) -> tuple[tuple[str, ...], bool]:
    """Names of a raster's bands, and whether they are known by position only.

    From `text`, from the file, from `order` if it has as many, or as so many bands usually are.
    """
    count = len(raster.values)
    if text:
        return named(text, count, where), True
    if raster.names:
        return raster.names, False
    return (order, False) if order and len(order) == count else (expected(count, where), True)


def _opened(folder: Path, options: ReadOptions, order: tuple[str, ...] | None) -> LabelledImages:
    files = sorted(path for path in folder.glob("**/*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise Fatal(f"{folder} has no images in folders of classes; give a folder with {folder.name}/CLASS/IMAGE.tif.")
    classes = sorted({path.parent.name for path in files})
    if len(classes) < 2 or any(path.parent == folder for path in files):
        raise Fatal(f"images below {folder} are not in folders of two classes or more; give a table of labels instead.")
    bands, by_position = bands_of(read_raster(files[0]), options.bands, order, str(files[0]))

    def read(index: int) -> tuple[Image, NDArray[Any]]:
        image = read_raster(files[index]).image
        if len(image) != len(bands):
            raise Fatal(f"{files[index]} has {len(image)} bands, others have {len(bands)}; leave it out.")
        return image, np.array(classes.index(files[index].parent.name))

    unit = _DIGITAL_NUMBER if order and len(bands) == len(order) else None
    return LabelledImages(
        folder.name, "single-label", tuple(classes), bands, _parts(folder, files), read, by_position, unit=unit,
        facts={"bands": ",".join(bands)},
    )  # fmt: skip


def _parts(folder: Path, files: list[Path]) -> dict[str, tuple[int, ...]]:
    """Indices by part, where the first folders below are parts."""
    firsts = [path.relative_to(folder).parts[0] for path in files]
    if not all(first in PARTS for first in firsts):
        return {EVERY: tuple(range(len(files)))}
    found: dict[str, list[int]] = {}
    for index, first in enumerate(firsts):
        found.setdefault(PARTS[first], []).append(index)
    if "test" not in found and "valid" in found:  # who has two parts tests on the second
        found["test"] = found.pop("valid")
    return {part: tuple(indices) for part, indices in found.items()}
