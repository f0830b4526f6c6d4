"""`geocorpus probe --data`: an encoder on labelled images of the field, beside random weights and plain statistics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporters.formats.benchmarks.labelled_images import EVERY
from exporters.formats.benchmarks.published_scores import PROBE, published_for
from flows.benchmarks.prepared import prepare
from flows.benchmarks.results import Results
from flows.closing import Closing
from flows.data_options import ProbeOptions
from flows.extras import require
from pipeline.progress import Progress


def probe(weights: str, address: str, options: Mapping[str, str], out: Path | None, progress: Progress) -> Closing:
    """The table of an encoder (anything that `load_encoder` takes) and the labelled images at `address`.

    `options` are texts by name, those of `ProbeOptions`. With `out`, the scores go there as `results.json` and `.csv`
    too. Raises `Fatal` when PyTorch is not installed, and for weights, images or options that cannot be used.
    """
    require("train", "probing")
    from training.evaluate.finetuned import best_device
    from training.evaluate.tasks.task_probe import Probing
    from training.weights.weights import load_encoder

    chosen = ProbeOptions.of_texts(options)
    pretrained = load_encoder(weights)
    pretrained.encoder.to(best_device())
    prepared = prepare(pretrained, address, chosen, progress)
    how, parts = Probing(chosen.fit, chosen.folds, chosen.seed), prepared.samples
    if EVERY in parts:
        found = how.in_folds(prepared.pretrained, parts[EVERY])
    else:
        found = how.divided(prepared.pretrained, parts["train"], parts["test"])
    how_many = {"folds": found.folds, "train": found.train, "test": found.test}
    facts = {**prepared.facts, **weights_facts(weights), "seed": chosen.seed, "fit": chosen.fit, **how_many}
    name = prepared.images.name
    where = f"in {found.folds} folds" if found.folds > 1 else f"fitted to {found.train:,} train images"
    title = f"{name}: {prepared.images.kind}, {found.test:,} test images, linear models {where}; {said(facts)}."
    return closed(Results.of(title, PROBE, found.tallies, published_for(name, PROBE), facts), out)


def weights_facts(weights: str) -> dict[str, Any]:
    """Which encoder it was, by its digest."""
    from training.weights.download import digest_of
    from training.weights.weights import located

    return {"weights": weights, "weights_sha256": digest_of(located(weights, None))}


def said(facts: Mapping[str, Any]) -> str:
    """What a person has to know of how it was done."""
    parts = [f"{facts['moments']} moments", f"bands {facts.get('bands', 'as named')}"]
    return ", ".join([*parts, *([f"partition {facts['partition']}"] if "partition" in facts else [])])


def closed(results: Results, out: Path | None) -> Closing:
    """The table, and where its files are."""
    written = results.write(out) if out else []
    lines = [results.table(), *(f"  The scores are in {path}." for path in written[:1])]
    return Closing.of("\n".join(lines), **results.to_dict(), done=results.title)
