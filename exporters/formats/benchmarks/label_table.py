"""A table of paths and labels, CSV or Parquet: classes, several labels, numbers, or files of masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from exporters.formats.benchmarks.class_folders import bands_of
from exporters.formats.benchmarks.labelled_images import EVERY, PARTS, Image, LabelledImages, ReadOptions
from exporters.formats.benchmarks.rasters import SUFFIXES, Raster, read_raster
from pipeline.errors import Fatal, unknown_name

_PATH, _PART = "path", "split"
_SEPARATOR = ";"
_KINDS = ("single-label", "multi-label", "regression")


@dataclass(frozen=True)
class _Labels:
    """Labels of all rows: their kind, names, and what gives that of a row, NaN or -1 for none."""

    kind: str
    names: tuple[str, ...]
    of: Callable[[int], NDArray[Any]]


def open_table(path: Path, options: ReadOptions) -> LabelledImages:
    """A table with a column `path` (relative to the table), one or more columns of labels, and perhaps `split`.

    One column of texts or whole numbers holds classes, of lists or texts with ";" several labels, of other numbers
    numbers, of paths of images a mask each: classes if integers, else numbers. Several columns are labels if they hold
    0 and 1 only, else numbers. `kind` decides where that is not what is meant. Raises `Fatal` for an unknown column,
    labels that are not of their kind, and empty cells.
    """
    table = _table(path)
    columns = [name.strip() for name in options.label.split(",")]
    for name in (_PATH, *columns):
        if name not in table.columns:
            raise unknown_name(f"column of {path.name}", name, [str(each) for each in table.columns])
        if table[name].isna().any() and name == _PATH:
            raise Fatal(f"{path} has a row without a {_PATH}; give each row one.")
    files = [path.parent / str(cell) for cell in table[_PATH]]
    if not files:
        raise Fatal(f"{path} has no rows; give some images.")
    labels = _labels(table, columns, options, path)
    bands, by_position = bands_of(read_raster(files[0]), options.bands, None, str(files[0]))

    def read(index: int) -> tuple[Image, NDArray[Any]]:
        image = read_raster(files[index]).image
        if len(image) != len(bands):
            raise Fatal(f"{files[index]} has {len(image)} bands, others have {len(bands)}; leave it out.")
        return image, labels.of(index)

    return LabelledImages(
        path.stem, labels.kind, labels.names, bands, _parts(table, path), read, by_position,
        facts={"bands": ",".join(bands), "label": options.label},
    )  # fmt: skip


def _table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except Exception as error:  # pandas raises errors of many libraries
        raise Fatal(f"{path} cannot be read as a table; give CSV or Parquet ({type(error).__name__}).") from error


def _parts(table: pd.DataFrame, path: Path) -> dict[str, tuple[int, ...]]:
    if _PART not in table.columns:
        return {EVERY: tuple(range(len(table)))}
    found: dict[str, list[int]] = {}
    for index, cell in enumerate(table[_PART]):
        if cell not in PARTS:
            raise unknown_name(f"{_PART} in {path.name}", cell, PARTS)
        found.setdefault(PARTS[cell], []).append(index)
    if "test" not in found and "valid" in found:
        found["test"] = found.pop("valid")
    if not {"train", "test"} <= found.keys():
        raise Fatal(f"{path} has no rows of both train and test in its column {_PART!r}; leave it out, or complete it.")
    return {part: tuple(indices) for part, indices in found.items()}


def _labels(table: pd.DataFrame, columns: list[str], options: ReadOptions, path: Path) -> _Labels:
    if options.kind and options.kind not in _KINDS:
        raise unknown_name("kind", options.kind, _KINDS)
    if len(columns) > 1:
        return _of_columns(table, columns, options.kind, path)
    cells = table[columns[0]]
    texts = [cell for cell in cells if isinstance(cell, str)]
    if len(texts) == len(cells) and all(cell.lower().endswith(SUFFIXES) for cell in texts):
        return _of_masks([path.parent / cell for cell in texts], options)
    if any(not isinstance(cell, str) and np.ndim(cell) == 1 for cell in cells) or options.kind == "multi-label":
        return _of_lists(list(cells), path)
    if any(_SEPARATOR in cell for cell in texts) and not options.kind:
        return _of_lists(list(cells), path)
    if options.kind == "regression" or (cells.dtype.kind == "f" and options.kind != "single-label"):
        return _of_columns(table, columns, "regression", path)
    return _of_classes(cells, columns[0], path)


def _of_classes(cells: pd.Series[Any], column: str, path: Path) -> _Labels:
    if cells.isna().any():
        raise Fatal(f"{path} has a row without a {column}; give each row a class, or leave it out.")
    if cells.dtype.kind == "f":
        raise Fatal(f"column {column!r} of {path} holds fractions, which are no classes; give kind=regression.")
    classes, indices = np.unique(cells.to_numpy().astype(str) if cells.dtype.kind == "O" else cells.to_numpy(),
                                 return_inverse=True)  # fmt: skip
    return _Labels("single-label", tuple(str(name) for name in classes), lambda row: np.array(indices[row]))


def _of_lists(cells: list[Any], path: Path) -> _Labels:
    """Several labels of an image, in a list or a text with ";" between them; an empty cell is none of them."""
    rows = [
        [part.strip() for part in cell.split(_SEPARATOR) if part.strip()] if isinstance(cell, str)
        else [str(part) for part in np.atleast_1d(cell)] if np.ndim(cell) == 1 else []
        for cell in cells
    ]  # fmt: skip
    names = tuple(sorted({name for row in rows for name in row}))
    if not names:
        raise Fatal(f"{path} has no labels at all in its column; give some.")
    return _Labels("multi-label", names, lambda row: np.isin(names, rows[row]).astype(np.int64))


def _of_columns(table: pd.DataFrame, columns: list[str], kind: str, path: Path) -> _Labels:
    try:
        values = table[columns].to_numpy(dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise Fatal(f"columns {', '.join(columns)} of {path} are not all numbers; choose others.") from error
    if kind == "regression" or (not kind and not np.isin(values, (0, 1)).all()):
        return _Labels("regression", tuple(columns), lambda row: np.asarray(values[row]))
    if not np.isin(values, (0, 1)).all():
        raise Fatal(f"columns {', '.join(columns)} of {path} hold more than 0 and 1; give kind=regression for numbers.")
    return _Labels("multi-label", tuple(columns), lambda row: np.asarray(values[row].astype(np.int64)))


def _of_masks(files: list[Path], options: ReadOptions) -> _Labels:
    """A mask per image: integers are codes of classes, all of which are looked up first; others are numbers."""
    first = read_raster(files[0])
    if options.kind == "regression" or first.values.dtype.kind == "f":
        names = first.names or tuple(f"band {index + 1}" for index in range(len(first.values)))
        return _Labels("regression", names, lambda row: read_raster(files[row]).image)
    codes = np.unique(np.concatenate([np.unique(_codes(read_raster(file), file)) for file in files]))
    codes = codes[~np.isin(codes, [*options.ignored, *([] if first.nodata is None else [first.nodata])])]
    if not len(codes):
        raise Fatal(f"{files[0]} and the other masks have no codes but those to ignore; check them.")
    return _Labels("single-label", tuple(str(code) for code in codes), lambda row: _indices(files[row], codes))


def _codes(raster: Raster, path: Path) -> NDArray[Any]:
    if raster.values.dtype.kind not in "iu" or len(raster.values) != 1:
        raise Fatal(f"{path} is no mask of one band of whole numbers, as others are; mend it.")
    return raster.values[0]


def _indices(path: Path, codes: NDArray[Any]) -> NDArray[np.int64]:
    values = _codes(read_raster(path), path)
    places = np.searchsorted(codes[:-1], values)
    return np.where(codes[places] == values, places, -1)
