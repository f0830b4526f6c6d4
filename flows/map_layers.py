"""What a map holds, as a layer that formats can write: classes, probabilities, numbers, features."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.modality import Band, Category, Extent, Modality

_LAST_BYTE = 255


def class_layer(label: str, categories: Sequence[Category], extent: Extent, origin: str) -> Modality:
    """One band of codes: bytes with nodata 255 where they fit, else int32 with nodata below all codes."""
    codes = [category.code for category in categories]
    small = min(codes) >= 0 and max(codes) < _LAST_BYTE
    return Modality(
        name=f"{_identifier(label)}_predicted", title=f"{label}, predicted", bands=(Band("class"),),
        dtype="uint8" if small else "int32", nodata=_LAST_BYTE if small else min(codes) - 1, extent=extent,
        categories=tuple(categories), reference=origin,
    )  # fmt: skip


def probability_layer(label: str, categories: Sequence[Category], extent: Extent, origin: str) -> Modality:
    """A band per class, float32 from 0 to 1, NaN for no data."""
    names = _different([_identifier(each.name) for each in categories], [each.code for each in categories])
    bands = [Band(name, long_name=category.name) for name, category in zip(names, categories, strict=True)]
    return Modality(
        name=f"{_identifier(label)}_probability", title=f"Probability of each class of {label}", bands=tuple(bands),
        dtype="float32", nodata=float("nan"), extent=extent, valid_range=(0.0, 1.0), reference=origin,
    )  # fmt: skip


def number_layer(label: str, names: Sequence[str], units: Sequence[str], extent: Extent, origin: str) -> Modality:
    """A band per column of numbers, float32 in `units` ("" for those that are not known), NaN for no data."""
    titles = _different(names, range(len(names)))
    bands = [Band(*each) for each in zip(titles, units or [""] * len(names), names, strict=True)]
    return Modality(
        name=f"{_identifier(label)}_predicted", title=f"{label}, predicted", bands=tuple(bands), dtype="float32",
        nodata=float("nan"), extent=extent, reference=origin,
    )  # fmt: skip


def feature_layer(width: int, extent: Extent, origin: str) -> Modality:
    """A band per feature, float32, NaN for no data."""
    bands = tuple(Band(f"feature_{number:03d}") for number in range(width))
    return Modality(
        name="embedding", title="Features of an encoder", bands=bands, dtype="float32", nodata=float("nan"),
        extent=extent, reference=origin,
    )  # fmt: skip


def codes_of(modality: Modality, indices: NDArray[np.int64]) -> NDArray[np.integer]:
    """Codes of class indices in the dtype of `modality`, of the same shape; nodata for a negative index."""
    codes = np.append(np.array(modality.codes), modality.fill).astype(modality.dtype)
    return codes[np.where(indices < 0, len(codes) - 1, indices)]


def _identifier(text: str) -> str:
    plain = re.sub(r"\W+", "_", text.lower()).strip("_")
    return plain if plain.isidentifier() else f"class_{plain}"


def _different(names: Sequence[str], codes: Iterable[int]) -> list[str]:
    """The names, or with the code behind them where two are the same."""
    if len(set(names)) == len(names):
        return list(names)
    return [f"{name}_{code}".replace("-", "minus") for name, code in zip(names, codes, strict=True)]
