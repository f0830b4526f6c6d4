"""Features of the chips by everything that is compared, computed once and kept beside the output."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import durable

FOLDER = "features"
_VERSION = 1
Vectors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Kept:
    """Features by what they are of: the digest of the weights and all else that they follow from."""

    folder: Path

    def of(self, facts: Mapping[str, Any], compute: Callable[[], Vectors]) -> Vectors:
        """Those that were kept for the same `facts` (JSON values), or what `compute` gives, which is kept.

        A file that cannot be read is made again. Raises `Unwritable` where nothing can be kept.
        """
        text = json.dumps({"version": _VERSION, **facts}, sort_keys=True)
        path = self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"
        try:
            with np.load(path, allow_pickle=False) as found:
                return dict(found)
        except (OSError, ValueError, EOFError, KeyError):
            vectors = compute()
        durable.publish(path, lambda temporary: _save(temporary, vectors))
        return vectors


def _save(path: Path, vectors: Vectors) -> None:
    with path.open("wb") as stream:
        np.savez(stream, **vectors)  # type: ignore[arg-type]  # names are those of layers


def digest_of(rows: NDArray[np.int64]) -> str:
    """What rows are, in a few digits."""
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()[:16]
