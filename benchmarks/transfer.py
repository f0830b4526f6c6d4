"""What pretraining buys: linear probes on frozen encoders, by what these were trained to predict, and plain baselines.

    python -m benchmarks.transfer [--quick] [--folder FOLDER] [--eurosat FOLDER] [--seeds 3] [--steps 2000]

Builds a corpus of the sandbox's planet in FOLDER (or takes the one that is there), pretrains small encoders in
FOLDER/runs (or takes those that are finished), and probes them on places of other regions and, where the folder with
EuroSAT is at hand, on real images. The last line is one JSON object: per task, the score of every kind of features and
the differences between kinds, each with a 95 % interval over seeds and test samples.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from benchmarks import eurosat
from flows import stages
from flows.progress.display import display
from flows.settings import parse
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from training.architecture import SIZES
from training.config import PretrainConfig
from training.data.label import labels_of
from training.evaluate.embedding import band_statistics, features_of
from training.evaluate.probe import Estimate, Features, Probe, difference, embed, estimate, linear_probe
from training.evaluate.probed import untrained
from training.layer import Layer, layer_of
from training.model.encoder import Encoder
from training.model.tower import Tower
from training.pretrain.train import pretrain
from training.weights.checkpoint import CHECKPOINTS
from training.weights.weights import load_encoder

OPTICAL = "sentinel2"
# Layers that say, or nearly say, what is probed: land cover in three versions, and the region.
LABELS = ("esa_worldcover", "biome")
TELLING = frozenset({*LABELS, "dynamic_world", "sentinel2_scl", "eco_region"})
ALL, BLIND, SINGLE = "all modalities", "all but the probed", "Sentinel-2 only"
RANDOM, BANDS, PIXELS = "random weights", "band means and deviations", "8 px means"
TRAINED = (ALL, BLIND, SINGLE)
_SIDE_PX = 8
_EVERY_BAND: dict[str, tuple[str, ...]] = {}
_RGB: dict[str, tuple[str, ...]] = {OPTICAL: eurosat.RGB}

BASE = PretrainConfig(
    inputs=(OPTICAL,), encoder="zepto", init_std="fan-in", image_px=32, patch_px=8, decoder_width=128, batch_size=32,
    steps=2000, blr=8e-3, checkpoint_every=500, read_rows=256, threads=1, pictures_every=0,
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """Where it happens and how much of it; `colour` is the part with 5,000 real images."""

    folder: Path
    eurosat: Path | None
    chips: int
    seeds: int
    base: PretrainConfig
    colour: bool = True

    @property
    def corpus(self) -> Path:
        """The corpus that is trained and probed on."""
        return self.folder / "corpus"


@dataclass(frozen=True)
class Task:
    """`labels` (samples,) and which of the samples a linear model is fitted to and tested on, again and again."""

    name: str
    labels: NDArray[np.int64]
    draws: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]

    def probe(self, features: Features) -> Probe:
        """Losses per tested sample, averaged over the draws that test it."""
        sums, times = np.zeros((3, len(self.labels))), np.zeros(len(self.labels))
        for seed, (train, test) in enumerate(self.draws):
            result = linear_probe(features[train], self.labels[train], features[test], self.labels[test], seed)
            sums[:, test] += (result.losses, result.guesses, result.scales)
            times[test] += 1
        return Probe(*(sums[:, times > 0] / times[times > 0]))


# One set of features (samples, width) per training seed.
Kinds = dict[str, list[Features]]


def build(plan: Plan) -> Corpus:
    """A corpus of every modality, its splits whole cells of four degrees; takes up where an earlier call stopped."""
    settings = parse({
        "corpus": {"folder": str(plan.corpus), "size_px": 64, "shard_rows": 256},
        "sampling": {"locations": plan.chips},
        "split": {"train": 0.7, "val": 0.1, "test": 0.2, "cell_deg": 4.0},
    })  # fmt: skip
    if not (plan.corpus / MANIFEST).exists() or Corpus.open(plan.corpus).missing():
        with display() as progress, stages.earth_engine(settings) as engine:
            stages.sample(settings, engine, progress)
            for stage in (stages.anchor, stages.export):
                stage(settings, engine, progress)
            stages.finalize(settings, progress)
    return Corpus.open(plan.corpus)


def targets(corpus: Corpus, kind: str) -> tuple[str, ...]:
    """What an encoder of this kind is trained to predict."""
    everything = tuple(corpus.modalities)
    return {ALL: everything, BLIND: tuple(name for name in everything if name not in TELLING), SINGLE: (OPTICAL,)}[kind]


def trained(plan: Plan, kind: str, seed: int, bands: dict[str, tuple[str, ...]]) -> Encoder:
    """The encoder of a finished run, which is trained first where it is not there."""
    corpus = Corpus.open(plan.corpus)
    config = replace(plan.base, seed=seed, targets=targets(corpus, kind), bands=bands)
    run = plan.folder / "runs" / "-".join([*(["rgb"] if bands else []), *kind.split(), str(seed)])
    last = run / CHECKPOINTS / f"step-{config.steps:08d}.pt"
    if not last.with_suffix(".json").exists():
        with display() as progress:
            progress.say(f"training {run.name}")
            pretrain(plan.corpus, config, run, progress)
    return load_encoder(last).convnext("this benchmark")


def small_means(images: Tensor) -> Features:
    """Raw pixels, 8 by 8 averaged, in place: (n, channels * patches)."""
    return np.asarray(avg_pool2d(images, _SIDE_PX).flatten(1).numpy(), dtype=np.float32)


# From a way to see images to features of all samples of a set.
Reader = Callable[[Callable[[Tensor], Features]], Features]


def all_kinds(plan: Plan, encoders: dict[str, list[Encoder]], channels: int, read: Reader) -> Kinds:
    """Features of the samples that `read` goes through, by every kind of encoder and baseline."""
    shape = Encoder(channels, SIZES[plan.base.encoder], plan.base.patch_px)
    random = [untrained(shape, seed, plan.base.init_std) for seed in range(plan.seeds)]
    nets: dict[str, Sequence[Encoder | Tower]] = {**encoders, RANDOM: random}
    result = {kind: [read(lambda images, one=one: embed(one, images)) for one in each]  # type: ignore[misc]
             for kind, each in nets.items()}  # fmt: skip
    return result | {BANDS: [read(band_statistics)], PIXELS: [read(small_means)]}


def planet_tasks(corpus: Corpus, image_px: int) -> Iterator[tuple[Task, NDArray[np.int64]]]:
    """Classes of chips: fitted to train rows, or to a tenth of them three times, tested on rows of other cells."""
    rows = np.sort(np.concatenate([corpus.manifest.rows_of(split) for split in ("train", "val", "test")]))
    held_out = np.concatenate([corpus.manifest.rows_of("val"), corpus.manifest.rows_of("test")])
    for name in LABELS:
        labels = labels_of(corpus, name, rows, image_px)
        tested = np.isin(labels.rows, held_out)
        train, test = np.flatnonzero(~tested), np.flatnonzero(tested)
        few = [np.random.default_rng(draw).choice(train, len(train) // 10, replace=False) for draw in range(3)]
        title = corpus.modality(name).title.split(" (")[0]
        yield Task(f"{title}, {len(train)} labels", labels.values, ((train, test),)), labels.rows
        yield Task(f"{title}, {len(few[0])} labels", labels.values, tuple((item, test) for item in few)), labels.rows


def folds(name: str, classes: NDArray[np.int64], repeats: int, inverted: bool) -> Task:
    """Repeated stratified five-fold cross-validation; inverted: fitted to one fold, tested on the other four."""
    draws = []
    for repeat in range(repeats):
        fold = np.zeros(len(classes), dtype=np.int64)
        for item in np.unique(classes):
            members = np.random.default_rng([repeat, int(item)]).permutation(np.flatnonzero(classes == item))
            fold[members] = np.arange(len(members)) % 5
        parts = [(np.flatnonzero(fold != index), np.flatnonzero(fold == index)) for index in range(5)]
        draws += [(test, train) if inverted else (train, test) for train, test in parts]
    return Task(name, classes, tuple(draws))


def few_of(name: str, classes: NDArray[np.int64], per_class: int, repeats: int) -> Task:
    """`per_class` labels drawn from one half of the samples, tested on the other half, which is always the same."""
    halves = [np.random.default_rng([0, int(item)]).permutation(np.flatnonzero(classes == item))
              for item in np.unique(classes)]  # fmt: skip
    test = np.sort(np.concatenate([half[len(half) // 2 :] for half in halves]))
    draws = []
    for repeat in range(repeats):
        random = np.random.default_rng([1, repeat])
        chosen = [random.permutation(half[: len(half) // 2])[:per_class] for half in halves]
        draws.append((np.concatenate(chosen), test))
    return Task(f"{name}, {per_class} labels a class", classes, tuple(draws))


@dataclass(frozen=True)
class Result:
    """Of one task: probes per kind of features, one per seed."""

    task: str
    probes: dict[str, list[Probe]]

    @classmethod
    def of(cls, task: Task, kinds: Kinds, rows: NDArray[np.int64] | slice = slice(None)) -> Result:
        """Probe every kind; baselines without seeds count for each."""
        return cls(task.name, {kind: [task.probe(item[rows]) for item in each] for kind, each in kinds.items()})

    @property
    def seeds(self) -> int:
        """How many encoders of a kind there are."""
        return max(len(each) for each in self.probes.values())

    def scores(self) -> dict[str, Estimate]:
        """Mean and interval per kind."""
        return {kind: estimate(each) for kind, each in self.probes.items()}

    def gap(self, one: str, other: str) -> Estimate:
        """How much more the first kind scores."""
        return difference(self._each_seed(one), self._each_seed(other))

    def _each_seed(self, kind: str) -> list[Probe]:
        result = self.probes[kind]
        return result * (self.seeds // len(result))


GAPS = ((ALL, SINGLE), (BLIND, SINGLE), (ALL, RANDOM), (BLIND, RANDOM), (BLIND, BANDS))


def planet_results(plan: Plan, corpus: Corpus, kinds: Sequence[str]) -> Iterator[Result]:
    """Probes on the planet's own places."""
    layers = (layer_of(corpus, OPTICAL, _EVERY_BAND),)
    encoders = {kind: [trained(plan, kind, seed, _EVERY_BAND) for seed in range(plan.seeds)] for kind in kinds}
    rows, size = np.arange(len(corpus.manifest)), plan.base.image_px
    result = all_kinds(plan, encoders, layers[0].channels, lambda see: features_of(corpus, layers, rows, size, see))
    for task, labelled in planet_tasks(corpus, size):
        yield Result.of(task, result, labelled)


def spectral_results(plan: Plan, corpus: Corpus, kinds: Sequence[str], folder: Path) -> Iterator[Result]:
    """Probes on real multispectral images."""
    layer = layer_of(corpus, OPTICAL, _EVERY_BAND)
    scenes = eurosat.multispectral(folder)
    encoders = {kind: [trained(plan, kind, seed, _EVERY_BAND) for seed in range(plan.seeds)] for kind in kinds}
    result = all_kinds(plan, encoders, layer.channels, _reader(scenes, layer))
    yield Result.of(folds("EuroSAT multispectral, 8 labels a class", scenes.classes, 2, inverted=False), result)
    yield Result.of(folds("EuroSAT multispectral, 2 labels a class", scenes.classes, 2, inverted=True), result)


def colour_results(plan: Plan, corpus: Corpus, kinds: Sequence[str], folder: Path) -> Iterator[Result]:
    """Probes on real images in true colour, of encoders that saw nothing but red, green and blue."""
    layer = layer_of(corpus, OPTICAL, _RGB)
    scenes = eurosat.colour(folder)
    encoders = {kind: [trained(plan, kind, seed, _RGB) for seed in range(plan.seeds)] for kind in kinds}
    result = all_kinds(plan, encoders, layer.channels, _reader(scenes, layer))
    for per_class, repeats in ((250, 1), (20, 5), (5, 10), (1, 20)):
        yield Result.of(few_of("EuroSAT in colour", scenes.classes, per_class, repeats), result)


def _reader(scenes: eurosat.Scenes, layer: Layer) -> Reader:
    names = [layer.modality.band_names[band] for band in layer.bands]
    images = torch.from_numpy(scenes.normalised(names))
    return lambda see: see(images)


def show(result: Result) -> None:
    """A table per task, in percent."""
    chance = next(iter(result.probes.values()))[0].chance
    print(f"\n{result.task} (commonest class {100 * chance:.1f})")
    for kind, score in result.scores().items():
        each = " ".join(f"{100 * probe.score:.1f}" for probe in result.probes[kind])
        print(f"  {kind:<28}{_percent(score)}   {each}")
    for item, other in GAPS:
        if item in result.probes and other in result.probes:
            print(f"  {item} - {other}: {_percent(result.gap(item, other))}", flush=True)


def _percent(found: Estimate) -> str:
    low, high = found.interval
    return f"{100 * found.mean:6.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _plain(results: Sequence[Result]) -> dict[str, Any]:
    def figures(result: Estimate) -> list[float]:
        return [round(100 * value, 1) for value in (result.mean, *result.interval)]

    return {
        item.task: {kind: figures(score) for kind, score in item.scores().items()}
        | {f"{a} - {b}": figures(item.gap(a, b)) for a, b in GAPS if a in item.probes and b in item.probes}
        for item in results
    }


def results(plan: Plan) -> Iterator[Result]:
    """Everything that the data at hand allow."""
    corpus = build(plan)
    yield from planet_results(plan, corpus, TRAINED)
    if plan.eurosat and (plan.eurosat / eurosat.MULTISPECTRAL).is_dir():
        yield from spectral_results(plan, corpus, TRAINED, plan.eurosat)
    if plan.colour and plan.eurosat and (plan.eurosat / eurosat.COLOUR).is_file():
        yield from colour_results(plan, corpus, (ALL, SINGLE), plan.eurosat)


def main() -> None:
    """Build, train, probe, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 places, 2 seeds, 30 steps, no colour: that it runs")
    parser.add_argument("--folder", type=Path, help="keeps the corpus and the runs; a temporary one by default")
    parser.add_argument("--eurosat", type=Path, default=Path("../shared/data/eurosat"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=BASE.steps)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        if given.quick:
            plan = Plan(folder, given.eurosat, 200, 2, replace(BASE, steps=30), colour=False)
        else:
            plan = Plan(folder, given.eurosat, 2400, given.seeds, replace(BASE, steps=given.steps))
        outcome = []
        for result in results(plan):
            show(result)
            outcome.append(result)
    print(json.dumps(_plain(outcome)))


if __name__ == "__main__":
    main()
