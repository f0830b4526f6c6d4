"""The `finetune` stage: an encoder is adapted to a layer of the corpus, or to a column that the owner brought."""

from __future__ import annotations

from pathlib import Path

from flows.benchmarks.linear_rows import beside, linear_rows
from flows.closing import Closing
from flows.extras import require
from flows.finetune_task import Task
from flows.settings import Settings
from pipeline.corpus import Corpus
from pipeline.progress import Progress

FINETUNED = "finetuned"


def finetune(settings: Settings, progress: Progress) -> str:
    """Adapt an encoder to the train rows, score it on the val rows, and save `finetuned/<label>-<per>.safetensors`.

    With `finetune.data`, images and labels of a benchmark take the place of the corpus's rows. Raises `Fatal` when
    PyTorch is not installed, a setting is wrong, or the corpus or the encoder cannot be opened.
    """
    require("train", "fine-tuning")
    from training.evaluate.finetune import finetune as tune
    from training.evaluate.samples import chip_samples, pixel_samples
    from training.weights.weights import load_encoder

    task, recipe = Task.of(settings.finetune)
    if task.data:
        from flows.benchmarks.tuning import tune as tune_on_data

        return tune_on_data(task, recipe, settings.folder / FINETUNED, progress)
    corpus, pretrained = Corpus.open(settings.folder), load_encoder(task.weights)
    patch = pretrained.encoder.patch_px
    image_px = task.image_px or corpus.manifest.size_px // patch * patch
    read = chip_samples if task.per == "chip" else pixel_samples
    train, val = (read(corpus, pretrained.normalisation, task.label, split, image_px) for split in ("train", "val"))
    tuned = tune(pretrained, train, recipe, progress)
    path = settings.folder / FINETUNED / f"{task.label}-{task.per}.safetensors"
    tuned.save(path)
    figures = tuned.score(val).figures()
    rows = linear_rows(pretrained, train, val, recipe, progress) if task.beside != "none" else {}
    said = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in figures.items())
    done = f"{task.label} per {task.per}, {len(train)} chips: {said} on {len(val)} val chips; the model is {path}."
    return Closing.of(
        f"{done}{beside(rows)}", done=done, label=task.label, per=task.per, train_chips=len(train), val_chips=len(val),
        **figures, beside={name: tally.figures() for name, tally in rows.items()}, weights=str(path),
    )  # fmt: skip


def convert(source: str, target: Path, sha256: str | None, geometry: str | None = None) -> str:
    """Write the encoder in `source` as a safetensors file that needs no other file; returns a line about it.

    Raises `Fatal` when PyTorch is not installed, `source` holds no encoder, or there is no such geometry.
    """
    require("train", "converting weights")
    from training.weights.weights import load_encoder, save_encoder

    pretrained = load_encoder(source, sha256, geometry)  # type: ignore[arg-type]  # checked there
    save_encoder(target, pretrained)
    item = pretrained.encoder.architecture
    bands = "; ".join(f"{name} {', '.join(bands)}" for name, bands in pretrained.normalisation.band_names.items())
    return f"{target}: {item.summary}, looks at {bands}."
