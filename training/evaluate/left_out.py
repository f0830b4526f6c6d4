"""Sensors and channels left out at inference: "sentinel1" is all of a layer, "sentinel2.B8" one of its bands."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from pipeline.errors import Fatal, unknown_name

Bands = Mapping[str, Sequence[str]]


def kept_bands(bands: Bands, without: Collection[str]) -> dict[str, Tensor]:
    """Which bands of each layer are used, (bands,) bool by layer, given the names of all of them.

    Raises `Fatal` for a layer or band that there is not, and where nothing is left.

    >>> kept_bands({"sentinel2": ("B2", "B8"), "sentinel1": ("VV",)}, ["sentinel1", "sentinel2.B8"])
    {'sentinel2': tensor([ True, False]), 'sentinel1': tensor([False])}
    """
    left_out = {_named(bands, name) for name in without}
    kept = {
        layer: torch.tensor([(layer, None) not in left_out and (layer, band) not in left_out for band in names])
        for layer, names in bands.items()
    }
    if not any(bool(item.any()) for item in kept.values()):
        raise Fatal(f"nothing is left of {', '.join(bands)} to look at; leave out less.")
    return kept


def _named(bands: Bands, name: str) -> tuple[str, str | None]:
    """A layer and one of its bands, None for all of them."""
    layer, _, band = name.partition(".")
    if layer not in bands:
        raise unknown_name("sensor to leave out", layer, bands)
    if band and band not in bands[layer]:
        raise unknown_name(f"channel of {layer} to leave out", band, bands[layer])
    return layer, band or None
