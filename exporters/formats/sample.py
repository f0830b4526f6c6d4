"""One chip as a sample of WebDataset: members with one key, and an extension from the first dot on."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.formats.chip_facts import chip_facts
from exporters.formats.raster_names import id_or_row
from pipeline.chip import Chip

FACTS = "json"
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # no dot, which would end the key


def key_of(chip: Chip) -> str:
    """The chip's id, or "row-12" for an id that no key can be. No two chips of a corpus have one key."""
    return id_or_row(chip, _PLAIN)


def members(chip: Chip, layers: Mapping[str, NDArray[Any]], missing: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Names and contents: facts as JSON, then each layer (bands[, y, x]) as NPY. `missing` has reasons by layer."""
    key = key_of(chip)
    yield f"{key}.{FACTS}", _facts(chip, missing)
    for name, values in layers.items():
        yield f"{key}.{name}.npy", _npy(values)


def _facts(chip: Chip, missing: Mapping[str, str]) -> bytes:
    grid = {"crs": chip.grid.crs, "transform": chip.grid.transform, "shape": chip.grid.shape_yx}
    facts = {name: value for name, value in chip_facts(chip).items() if not _is_nan(value)}  # JSON has no NaN
    return json.dumps({**facts, **grid, "missing": missing}, ensure_ascii=False, allow_nan=False).encode()


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _npy(values: NDArray[Any]) -> bytes:
    stream = BytesIO()
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    np.lib.format.write_array(stream, little, version=(1, 0), allow_pickle=False)
    return stream.getvalue()
