"""What response normalisation over the batch or per image changes: features, losses, and what a linear model reads off.

    python -m benchmarks.response [--quick] [--folder FOLDER] [--seeds 3] [--steps 500]

Pretrains small encoders both ways on a corpus of the sandbox's planet (that in FOLDER/corpus, or a new one). Then: how
far the features of an image move when it stands in a batch instead of alone, at the same weights; and linear probes of
land cover with the weights used as they were trained, and used per image, as the published code does after training
over the batch. The last line is one JSON object with the figures of the tables.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.transfer import BASE, OPTICAL, Plan, build
from flows.progress.display import display
from pipeline.corpus import Corpus
from training.architecture import GrnScope
from training.data.label import labels_of
from training.evaluate.embedding import features_of
from training.evaluate.probe import Probe, difference, embed, estimate, linear_probe
from training.layer import layer_of
from training.model.encoder import Encoder
from training.pretrain.train import pretrain
from training.weights.weights import load_encoder

LABEL = "esa_worldcover"
BATCHES = (2, 8, 32)
_DRIFTING = 16  # Images whose drift is measured.


def trained(plan: Plan, grn_scope: GrnScope, seed: int) -> tuple[Encoder, float]:
    """An encoder of a finished run, and the mean of its last losses, all targets alike."""
    config = replace(plan.base, seed=seed, targets=(), grn_scope=grn_scope)
    run = plan.folder / "runs" / f"response-{grn_scope}-{config.steps}-{seed}"
    with display() as progress:
        progress.say(f"training {run.name}")
        result = pretrain(plan.corpus, config, run, progress)
    return load_encoder(run).convnext("this benchmark"), float(np.mean(list(result.last_losses.values())))


def used(encoder: Encoder, grn_scope: GrnScope) -> Encoder:
    """The same weights with the response taken over something else."""
    other = Encoder.of(replace(encoder.architecture, grn_scope=grn_scope))
    other.load_state_dict(encoder.state_dict())
    return other


def drift(encoder: Encoder, images: Tensor, batch: int, seed: int) -> float:
    """Mean distance of an image's features in a random batch from those alone, over the length of those."""
    random, moved = np.random.default_rng(seed), []
    alone = embed(encoder, images[:_DRIFTING], 1)
    for index in range(min(_DRIFTING, len(images))):
        others = random.choice(np.delete(np.arange(len(images)), index), batch - 1, replace=False)
        together = embed(encoder, images[[index, *others]], batch)[0]
        moved.append(np.linalg.norm(together - alone[index]) / np.linalg.norm(alone[index]))
    return float(np.mean(moved))


def images_of(corpus: Corpus, rows: NDArray[np.int64], image_px: int) -> Tensor:
    """Normalised images (rows, channels, y, x) of manifest rows."""
    layers = (layer_of(corpus, OPTICAL, {}),)
    result = features_of(corpus, layers, rows, image_px, lambda images: np.ascontiguousarray(images.numpy()))
    return torch.from_numpy(result)


def ways(over_image: Encoder, over_batch: Encoder, images: Tensor) -> Iterator[tuple[str, Any, Any]]:
    """Features to fit and to test a linear model with, by how the weights were trained and used."""
    published = used(over_batch, "image")
    together, alone = embed(over_batch, images, 64), embed(published, images)
    own = embed(over_image, images)
    yield "trained per image, used per image", own, own
    yield "trained over the batch, used per image (as published)", alone, alone
    yield "trained over the batch, used in batches of 64", together, together
    yield "the same, and tested one image at a time", together, alone


def probes(plan: Plan, corpus: Corpus, encoders: list[tuple[Encoder, Encoder]]) -> dict[str, list[Probe]]:
    """A probe per way and seed; fitted to train rows, tested on the rows of other cells."""
    labels = labels_of(corpus, LABEL, np.arange(len(corpus.manifest)), plan.base.image_px)
    images = images_of(corpus, labels.rows, plan.base.image_px)
    train = np.isin(labels.rows, corpus.manifest.rows_of("train"))
    result: dict[str, list[Probe]] = {}
    for seed, pair in enumerate(encoders):
        for name, fitted, tested in ways(*pair, images):
            score = linear_probe(fitted[train], labels.values[train], tested[~train], labels.values[~train], seed)
            result.setdefault(name, []).append(score)
    return result


def study(plan: Plan) -> dict[str, Any]:
    """Train, measure, print; returns the figures."""
    corpus = build(plan)
    both = [tuple(trained(plan, grn_scope, seed) for grn_scope in ("image", "batch")) for seed in range(plan.seeds)]
    losses = {name: [pair[index][1] for pair in both] for index, name in enumerate(("image", "batch"))}
    pairs = [(pair[0][0], pair[1][0]) for pair in both]
    images = images_of(corpus, corpus.manifest.rows_of("train")[:256], plan.base.image_px)
    drifts = {batch: [drift(pair[1], images, batch, seed) for seed, pair in enumerate(pairs)] for batch in BATCHES}
    drifts |= {0: [drift(pair[0], images, BATCHES[-1], seed) for seed, pair in enumerate(pairs)]}
    _print(losses, drifts)
    return {"losses": losses, "drift": drifts, "probes": _shown(probes(plan, corpus, pairs))}


def _print(losses: dict[str, list[float]], drifts: dict[int, list[float]]) -> None:
    for name, each in losses.items():
        print(f"  mean of the last losses, {name:<6} {np.mean(each):7.4f}   {' '.join(f'{item:.4f}' for item in each)}")
    for batch, each in drifts.items():
        where = f"over the batch, batches of {batch}" if batch else f"per image, batches of {BATCHES[-1]}"
        span = f"({100 * min(each):.2f} to {100 * max(each):.2f})"
        print(f"  features move by, {where:<32} {100 * np.mean(each):6.2f} %  {span}")


def _shown(found: dict[str, list[Probe]]) -> dict[str, list[float]]:
    first = next(iter(found.values()))
    figures = {}
    for name, each in found.items():
        score, gap = estimate(each), difference(each, first)
        figures[name] = [round(100 * item, 1) for item in (score.mean, *score.interval, gap.mean, *gap.interval)]
        line = "  {:<56}{:5.1f} [{:.1f}, {:.1f}]   against the first {:+.1f} [{:+.1f}, {:+.1f}]"
        print(line.format(name, *figures[name]))
    return figures


def main() -> None:
    """Build, train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 places, 1 seed, 20 steps: shows that it runs")
    parser.add_argument("--folder", type=Path, help="keeps the corpus and the runs; a temporary one by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        chips, seeds, steps = (200, 1, 20) if given.quick else (2400, given.seeds, given.steps)
        print(json.dumps(study(Plan(folder, None, chips, seeds, replace(BASE, steps=steps)))))


if __name__ == "__main__":
    main()
