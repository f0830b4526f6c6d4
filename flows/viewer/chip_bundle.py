"""All of a chip in one answer: its facts as JSON, and behind them the values and pictures of all layers as bytes.

Four bytes (little-endian) say how long the JSON is; it is filled up with spaces so that the arrays, each at the place
that the JSON names, begin at multiples of eight bytes behind it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.viewer.chip_view import ChipView
from pipeline.drawing import draw_all
from pipeline.errors import GeocorpusError
from pipeline.modality import Modality

_ALIGNED = 8
_LENGTH_BYTES = 4
# Of which a browser has arrays; values of others go as float64.
_DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")


def bundle(view: ChipView, facts: Mapping[str, Any]) -> bytes:
    """The `facts` of a chip, with the state of each layer under "layers", and all arrays.

    A layer with pixels has `values` (bands, y, x), stored ones with what makes units of them, and `pictures`
    (y, x, 3) uint8 by band. One with a value per chip and band has them in the JSON, null for nodata. One that is not
    there, or damaged, says why.
    """
    arrays = _Arrays()
    layers = {name: _layer(view, name, arrays) for name in sorted(view.corpus.modalities)}
    text = json.dumps({**facts, "layers": layers}, allow_nan=False, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + _LENGTH_BYTES) % _ALIGNED)
    return b"".join([len(text).to_bytes(_LENGTH_BYTES, "little"), text, *arrays.parts])


@dataclass
class _Arrays:
    """Arrays one after another, each in whole steps of eight bytes."""

    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, array: NDArray[Any]) -> int:
        """Where it begins."""
        start, content = self.size, array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        self.parts += [content, bytes(-len(content) % _ALIGNED)]
        self.size += len(content) + len(self.parts[-1])
        return start


def _layer(view: ChipView, name: str, arrays: _Arrays) -> dict[str, Any]:
    try:
        stored = view.found(name)
    except GeocorpusError as error:
        stored = f"{error}"
    if isinstance(stored, str):
        return {"there": False, "note": stored}
    modality = view.corpus.modality(name)
    if modality.extent == "image":
        return {"there": True, "values": _numbers(modality, stored)}
    pictures = draw_all(modality, stored, view.chip.grid.resolution_m)
    return {
        "there": True, "values": described(modality, stored) | {"at": arrays.add(sendable(stored))},
        "pictures": [{"band": band, "at": arrays.add(picture)} for band, picture in pictures],
    }  # fmt: skip


def _numbers(modality: Modality, stored: NDArray[Any]) -> list[float | None]:
    """Values in units, or the codes of classes; None for nodata."""
    values = stored.astype(np.float64) if modality.categories else modality.physical(stored)
    known = modality.valid(stored) & np.isfinite(values)
    return [value if there else None for value, there in zip(values.tolist(), known.tolist(), strict=True)]


def described(modality: Modality, stored: NDArray[Any]) -> dict[str, Any]:
    """How an array becomes units: value * scale + offset, nothing where it is `nodata`, null for NaN."""
    scale, offset = (1.0, 0.0) if modality.categories else (modality.scale, modality.offset)
    nodata = None if math.isnan(modality.nodata) else float(modality.fill)
    return {"dtype": sendable(stored[:0]).dtype.name, "scale": scale, "offset": offset, "nodata": nodata}


def sendable(stored: NDArray[Any]) -> NDArray[Any]:
    """Of the same dtype where a browser has it."""
    return stored if stored.dtype.name in _DTYPES else stored.astype(np.float64)
