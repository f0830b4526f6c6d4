"""The parameters of a net under names that hold in another net, whose layers may be others or in another order.

Nets may have one module per target in `heads` and in `decoders`, and a number per target in `log_variances`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from training.weights.channels import Channels, listed_by_layer

# The kernels of an encoder that look at the channels of an image.
FIRST = ("encoder.initial_conv.0.weight", "encoder.stem_orig.0.weight")
_OF_A_TARGET = re.compile(r"(heads|decoders)\.(\d+)\.(.+)")
SHARED = "shared"  # The name of a decoder that serves all targets.


def portable(state: Mapping[str, Tensor], inputs: Channels, targets: Channels) -> dict[str, Tensor]:
    """Parameters by portable name, as views into those of `state`; channels have their names in brackets."""
    names, shared = list(targets), not any(name.startswith("decoders.1.") for name in state)
    result: dict[str, Tensor] = {}
    for name, value in state.items():
        if name in FIRST:
            result |= dict(_split(name, value.transpose(0, 1), listed_by_layer(inputs)))
        elif name == "log_variances":
            result |= {f"log_variances.{layer}": value[index] for index, layer in enumerate(names)}
        elif found := _OF_A_TARGET.fullmatch(name):
            part, index, rest = found[1], int(found[2]), found[3]
            layer = SHARED if part == "decoders" and shared else names[index]
            channels = targets[layer] if part == "heads" else ()
            result |= dict(_split(f"{part}.{layer}.{rest}", value, channels))
        else:
            result[name] = value
    return result


def _split(name: str, value: Tensor, channels: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
    """A parameter per channel, where its first axis is (channels, whatever belongs to each) flattened."""
    if not channels or len(value) % len(channels):
        yield name, value
        return
    for index, part in enumerate(value.unflatten(0, (len(channels), -1)).unbind()):
        yield f"{name}[{channels[index]}]", part
