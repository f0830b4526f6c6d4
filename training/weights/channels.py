"""Names of the channels of layers, by which weights of one net are found in another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Channels = Mapping[str, tuple[str, ...]]  # By layer, in their order.


def channels_of(bands: Sequence[str], classes: int) -> tuple[str, ...]:
    """One for each band of numbers; for a layer of classes, "class K/N" for each class, with its band if it has more.

    Classes count from 0, in the order of the layer's specification.
    """
    if not classes:
        return tuple(bands)
    prefixes = [""] if len(bands) == 1 else [f"{band} " for band in bands]
    return tuple(f"{prefix}class {index}/{classes}" for index in range(classes) for prefix in prefixes)


def listed_by_layer(channels: Channels) -> tuple[str, ...]:
    """The channels of stacked layers, "layer band" each."""
    return tuple(f"{layer} {name}" for layer, names in channels.items() for name in names)
