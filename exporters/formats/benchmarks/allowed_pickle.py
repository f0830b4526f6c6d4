"""Pickles of GEO-Bench read without running anything from them: what they name is on a list, or nothing is read.

GEO-Bench's own classes become `Record`s, so that its package need not be there and none of its code runs. Arrays of
objects are refused: NumPy would unpickle those by itself.
"""

from __future__ import annotations

import ast
import datetime
import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Fatal

_MODULES = {f"{top}{part}" for top in ("geobench", "geobench.io", "ccb", "ccb.io")
            for part in ("", ".dataset", ".label", ".task")}  # fmt: skip
_CLASSES = {
    "BandInfo", "SpectralBand", "Sentinel1", "Sentinel2", "Landsat8", "Mask", "ElevationBand", "MultiBand",
    "HyperSpectralBands", "CloudProbability", "SegmentationClasses", "LabelType", "Classification",
    "SemanticSegmentation", "MultiLabelClassification", "TaskSpecifications",
}  # fmt: skip


class Record:
    """What an object of another package held: its attributes in `state`, and the arguments that it was made with."""

    def __new__(cls, *arguments: Any) -> Record:
        """A record without attributes."""
        made = super().__new__(cls)
        made.arguments, made.state = arguments, {}
        return made

    arguments: tuple[Any, ...]
    state: dict[str, Any]

    def __setstate__(self, state: Any) -> None:
        self.state = dict(state) if isinstance(state, dict) else {"state": state}


class _Refused(Exception):
    """A name that is not on the list."""


def _dtype(*arguments: Any) -> np.dtype[Any]:
    kind = np.dtype(*arguments)
    if kind.hasobject:
        raise _Refused("numpy's dtype of objects")
    return kind


def _scalar(kind: np.dtype[Any], content: bytes) -> Any:
    if kind.hasobject:
        raise _Refused("numpy's dtype of objects")
    return np.frombuffer(content, kind)[0]


def _array(kind: Any, *_: Any) -> NDArray[Any]:
    if kind is not np.ndarray:
        raise _Refused("a subclass of numpy's array")
    return np.empty(0, np.uint8)  # What it holds is filled in by the next step of the pickle.


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("affine", "Affine"): Record,
    ("rasterio.crs", "CRS"): Record,
    ("rasterio._crs", "CRS"): Record,
    ("datetime", "date"): datetime.date,
    ("datetime", "datetime"): datetime.datetime,
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): np.ndarray,
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _array for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module in _MODULES and name in _CLASSES:
            return Record
        raise _Refused(f"{module}.{name}")


def read_pickle(content: bytes, where: str) -> Any:
    """What a pickle of GEO-Bench holds. Raises `Fatal` for a damaged one, and one that names anything off the list."""
    try:
        return _Unpickler(io.BytesIO(content)).load()
    except _Refused as error:
        raise Fatal(
            f"{where} holds a pickle that names {error}, which GEO-Bench has no use for; it was not run: fetch the "
            "file again from where you trust it."
        ) from error
    except Exception as error:  # noqa: BLE001 (a damaged pickle may raise anything)
        raise Fatal(f"{where} is damaged ({type(error).__name__} in its pickle); fetch it again.") from error


def read_pickle_text(text: Any, where: str) -> Any:
    """What a pickle holds of which an attribute has the text, as Python writes bytes. Raises as `read_pickle` does."""
    try:
        content = ast.literal_eval(text if isinstance(text, str) else str(text))
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise Fatal(f"{where} is damaged: its attribute 'pickle' is no text of bytes; fetch it again.") from error
    if not isinstance(content, bytes):
        raise Fatal(f"{where} is damaged: its attribute 'pickle' is no text of bytes; fetch it again.")
    return read_pickle(content, where)
