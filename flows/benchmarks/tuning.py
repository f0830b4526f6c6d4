"""`finetune.data`: an encoder adapted to labelled images of the field, beside random weights by the same recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from exporters.formats.benchmarks.labelled_images import EVERY
from exporters.formats.benchmarks.published_scores import PROBE, TUNED, published_for
from flows.benchmarks.linear_rows import linear_rows
from flows.benchmarks.prepared import Prepared, prepare
from flows.benchmarks.probing import closed, said, weights_facts
from flows.benchmarks.results import Results
from flows.closing import Closing
from flows.finetune_task import Task
from pipeline.progress import Progress

if TYPE_CHECKING:
    from training.evaluate.recipe import Recipe
    from training.evaluate.sample_source import SampleSource

_TESTED = 5  # one of so many images, where the data set has no part to test on


def tune(task: Task, recipe: Recipe, folder: Path, progress: Progress) -> Closing:
    """Adapt the encoder of `task` to its data's train part, score it on the test part, and save model and scores.

    They go to `folder`/NAME.safetensors, .json and .csv. Raises `Fatal` for weights or images that cannot be used.
    """
    from training.evaluate.finetune import finetune
    from training.evaluate.probed import RANDOM, THIS, untrained
    from training.weights.weights import load_encoder

    prepared = prepare(load_encoder(task.weights), task.data, task.data_options, progress)
    train, test = _divided(prepared, recipe.seed)
    tuned = finetune(prepared.pretrained, train, recipe, progress)
    name = prepared.images.name
    tuned.save(folder / f"{name}.safetensors")
    tallies = {THIS: tuned.on_best_device().score(test)}
    if task.beside == "random":
        random = replace(prepared.pretrained, encoder=untrained(prepared.pretrained.encoder, recipe.seed))
        tallies[RANDOM] = finetune(random, train, recipe, progress).on_best_device().score(test)
        tallies |= linear_rows(prepared.pretrained, train, test, recipe, progress)
    counts = {"train": len(train), "test": tallies[THIS].samples}
    facts = {**prepared.facts, **weights_facts(task.weights), "recipe": asdict(recipe), "seed": recipe.seed, **counts}
    protocol = PROBE if recipe.frozen == 1 else TUNED
    title = (
        f"{name}: {prepared.images.kind}, {protocol} on {len(train):,} images for {recipe.epochs} epochs, "
        f"{tallies[THIS].samples:,} test images; {said(facts)}."
    )
    results = Results.of(title, protocol, tallies, published_for(name, protocol), facts)
    results.write(folder, name)
    model = folder / f"{name}.safetensors"
    closing = closed(results, None)
    text = f"{closing}\n  The model is {model}, its scores lie beside it."
    return Closing.of(text, **dict(closing.facts) | {"weights": str(model), "pretrained": task.weights})


def _divided(prepared: Prepared, seed: int) -> tuple[SampleSource, SampleSource]:
    """What is learned from and what is tested on: parts of the data set, or one image of five drawn by the seed."""
    parts = prepared.samples
    if EVERY not in parts:
        return parts["train"], parts["test"]
    whole = parts[EVERY]
    order = np.random.default_rng(seed).permutation(len(whole))
    tested = np.sort(order[: max(1, len(order) // _TESTED)])
    return Chosen(whole, np.setdiff1d(order, tested)), Chosen(whole, tested)


@dataclass(frozen=True)
class Chosen:
    """Some samples of a source, (chosen,) int64."""

    source: SampleSource
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, rows: NDArray[np.int64]) -> Any:
        """As for `SampleSource`."""
        return self.source.of(self.rows[rows])

    @property
    def task(self) -> Any:
        """That of the source."""
        return self.source.task

    @property
    def legend(self) -> Any:
        """That of the source."""
        return self.source.legend
