"""Probes of an encoder on a layer of a corpus, compared with random weights and with band statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from training.architecture import InitStd
from training.data.label import labels_of
from training.evaluate.embedding import band_statistics, features_of
from training.evaluate.probe import Features, Probe, difference, embed, linear_probe
from training.evaluate.probe_chips import MOST_CHIPS
from training.model.encoder import Encoder, initialise
from training.model.tower import Tower
from training.weights.pretrained import Pretrained

THIS, RANDOM, BANDS = "this encoder", "random weights", "band means and deviations"


@dataclass(frozen=True)
class Probed:
    """Probes of `label` by kind of features, fitted to `train` train chips and tested on chips of `split`.

    `measure` is "accuracy" (of the commonest class per chip) or "R2" (of means). `predicted` is True where the encoder
    was pretrained to predict this layer.
    """

    label: str
    measure: str
    split: str
    train: int
    predicted: bool
    probes: Mapping[str, Probe]

    def table(self) -> str:
        """The scores as lines of text."""
        first = self.probes[THIS]
        lines = [
            f"{self.label}: {self.measure} on {len(first.losses):,} {self.split} chips, fitted to {self.train:,} train "
            f"chips; {first.chance:.3f} without looking.",
            f"  {'':<28}{'score':>7}   {'95 % of resamples':<20}what the encoder has over it",
        ]
        lines += [self._line(kind, probe) for kind, probe in self.probes.items()]
        if self.predicted:
            lines.append("  The encoder was pretrained to predict this layer: it has seen its train labels already.")
        return "\n".join(lines)

    def _line(self, kind: str, probe: Probe) -> str:
        low, high = probe.interval()
        line = f"  {kind:<28}{probe.score:>7.3f}   {f'{low:.3f} to {high:.3f}':<20}"
        if kind == THIS:
            return line.rstrip()
        gap = difference([self.probes[THIS]], [probe])
        return line + f"{gap.mean:+.3f} ({gap.interval[0]:+.3f} to {gap.interval[1]:+.3f})"


def probe_layer(
    corpus: Corpus,
    pretrained: Pretrained,
    label: str,
    most_train: int = MOST_CHIPS,
    most_test: int = MOST_CHIPS,
    seed: int = 0,
) -> Probed:
    """Probe `label` on the centres of the first chips of the train and test splits; val, where there are no test chips.

    The label is a layer or a column, as `labels_of` takes it. `seed` draws the random weights and the folds. Raises
    `Fatal` for a label or band that the corpus lacks, a split without chips, or a label without data.
    """
    patch = pretrained.encoder.patch_px
    image_px = corpus.manifest.size_px // patch * patch
    split = "test" if len(corpus.manifest.rows_of("test")) else "val"
    parts = [corpus.manifest.rows_of("train")[:most_train], corpus.manifest.rows_of(split)[:most_test]]
    for name, rows in zip(("train", split), parts, strict=True):
        if not len(rows):
            raise Fatal(f"the corpus in {corpus.folder} has no {name} chips to probe with; change its split.")
    result = [labels_of(corpus, label, rows, image_px) for rows in parts]
    layers = pretrained.normalisation.layers_of(corpus.modalities)
    probes = {}
    for kind, features in _kinds(pretrained, seed).items():
        train, test = (features_of(corpus, layers, item.rows, image_px, features) for item in result)
        probes[kind] = linear_probe(train, result[0].values, test, result[1].values, seed)
    measure = "accuracy" if np.issubdtype(result[0].values.dtype, np.integer) else "R2"
    targets = pretrained.facts.get("config", {}).get("targets", ())
    return Probed(label, measure, split, len(result[0].rows), label in targets, probes)


def _kinds(pretrained: Pretrained, seed: int) -> dict[str, Callable[[Tensor], Features]]:
    random = untrained(pretrained.encoder, seed)
    return {
        THIS: lambda images: embed(pretrained.encoder, images),
        RANDOM: lambda images: embed(random, images),
        BANDS: band_statistics,
    }


def untrained(encoder: Encoder | Tower, seed: int, init_std: InitStd = "fixed") -> Encoder | Tower:
    """A new encoder of the same architecture, with initial weights drawn by `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(encoder, Tower):
            return Tower(encoder.architecture, init_std)
        fresh = Encoder.of(encoder.architecture)
        initialise(fresh, init_std)
    return fresh
