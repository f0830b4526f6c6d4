"""The net of a pretraining method and what it owes the loop, in one of two ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.errors import Fatal
from training.architecture import SIZES
from training.batch import Batch
from training.config import PretrainConfig
from training.layer import Layer
from training.model.encoder import Encoder
from training.model.weight_decay import decaying


def encoder_of(inputs: Sequence[Layer], config: PretrainConfig) -> Encoder:
    """The encoder of `inputs` in the size and shape of the settings, with the initial weights of torch.

    A checkpoint of a net that has it as `encoder` is enough to load it by itself.
    """
    channels = sum(layer.input_channels for layer in inputs)
    return Encoder(channels, SIZES[config.encoder], config.patch_px, config.stem, config.grn_scope)


@dataclass(frozen=True)
class Objective:
    """`total` (scalar) is minimised; `losses` float and `active` bool, (losses,), are its unweighted terms."""

    total: Tensor
    losses: Tensor
    active: Tensor


def fitting(result: object, net: Pretext) -> Objective:
    """What a net gave as its objective. Raises `Fatal` unless it is one, with a scalar total and a loss per name."""
    name, count = type(net).__name__, len(net.loss_names)
    if not isinstance(result, Objective):
        raise Fatal(f"the net {name} gives a {type(result).__name__} as its objective; give an Objective.")
    if not isinstance(result.total, Tensor) or result.total.ndim:
        raise Fatal(f"the total of the objective of the net {name} is no scalar tensor; give it as losses.sum() is.")
    for what, values in (("losses", result.losses), ("active", result.active)):
        if not isinstance(values, Tensor) or values.shape != (count,):
            shape = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise Fatal(
                f"{what} of the objective of the net {name} are {shape}, and its loss_names {count}; give one of each."
            )
    return result


class Pretext(nn.Module):
    """The net that a method trains. Take `AdditivePretext` or `JointPretext` as its base, not this class.

    All its parameters are trained, and its `state_dict` is what checkpoints keep. `encoder` is the part that outlives
    pretraining. `loss_names` name the losses of its `Objective` in the log, in the history of a run and on its model
    card; `figure_names` name what else is logged at every step. `leaves_unused` says that a step may leave parameters
    without a gradient, which costs a search when several processes train together.

    Random numbers come from torch's own generators, which the loop seeds for every step: a resumed run draws the same.
    """

    encoder: nn.Module
    loss_names: tuple[str, ...]
    figure_names: tuple[str, ...] = ()
    leaves_unused: bool = False

    def figures(self) -> Tensor:
        """The values of `figure_names`, (figures,) float, read between backward pass and update; none by default.

        They stay on their device: a value that is fetched (`.item()`) makes every step wait.
        """
        return torch.zeros(0, device=next(self.parameters()).device)

    def decaying(self) -> frozenset[int]:
        """The `id` of every parameter with weight decay; by default matrices and kernels."""
        return decaying(self)


class AdditivePretext(Pretext):
    """A net whose objective is a sum over chips, once the counts of the whole batch are known."""

    def counts(self, batch: Batch) -> Tensor:
        """The number of values over which each loss is a mean, (losses,) int64; summed over all parts of a batch."""
        raise NotImplementedError

    def objective(self, batch: Batch, counts: Tensor, fraction: float) -> Objective:
        """The objective of a part of a batch, with graph.

        With the `counts` of the whole batch and the `fraction` of its chips in this part, the totals and the losses of
        all parts add up to those of the whole batch. `active` says which losses count anything in the whole batch.
        """
        raise NotImplementedError


def counted(net: AdditivePretext, batch: Batch) -> Tensor:
    """The counts of a part of a batch; raises `Fatal` unless there is one for each loss."""
    counts, losses = net.counts(batch), len(net.loss_names)
    if not isinstance(counts, Tensor) or counts.shape != (losses,):
        name = type(net).__name__
        raise Fatal(f"counts of the net {name} are not one per loss, of {losses}; give a tensor of that length.")
    return counts


class JointPretext(Pretext):
    """A net whose objective needs all chips of a batch at once, such as a contrastive one."""

    def represent(self, batch: Batch) -> dict[str, Tensor]:
        """What the objective needs of each chip, by any names, (chips, ...), with graph.

        Tensors of floating point get gradients; others, such as bool for what is present, are carried along.
        """
        raise NotImplementedError

    def joint(self, representations: dict[str, Tensor]) -> Objective:
        """The objective of a whole batch, the rows of all its parts and processes one after another.

        It is called outside of autocast, with tensors in float32.
        """
        raise NotImplementedError

    def scores(self, representations: dict[str, Tensor]) -> dict[str, Tensor]:
        """What else to log of the representations of all val chips, scalars by name, NaN for none; nothing by default.

        Called without gradients, with tensors in float32.
        """
        return {}
