"""The `finetune` stage: an encoder adapted to a layer of the corpus that has classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flows.settings import Settings
from pipeline.corpus import Corpus
from pipeline.errors import Fatal, unknown_name
from pipeline.progress import Progress
from training.evaluate.recipe import RECIPES, Recipe

FINETUNED = "finetuned"
_PER = ("chip", "pixel")


@dataclass(frozen=True)
class Task:
    """The `[finetune]` section: `weights` is anything that `load_encoder` takes, `label` a layer with classes.

    `per` "chip" learns its commonest class, "pixel" a class per pixel. `image_px` 0 is the largest that fits.
    """

    weights: str
    label: str
    per: str = "chip"
    image_px: int = 0

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> tuple[Task, Recipe]:
        """From plain TOML values; what is no field of a task is one of `Recipe`, over `recipe`, a name in `RECIPES`."""
        own, settings = {item.name for item in fields(cls)}, dict(plain)
        recipe = str(settings.pop("recipe", "full"))
        if recipe not in RECIPES:
            raise unknown_name("finetune.recipe", recipe, RECIPES)
        absent = [name for name in ("weights", "label") if name not in settings]
        if absent:
            raise Fatal(f"finetune.{absent[0]} is not set; give finetune.{absent[0]}=… as well.")
        task = cls(**{name: value for name, value in settings.items() if name in own})
        if task.per not in _PER:
            raise unknown_name("finetune.per", task.per, _PER)
        return task, _changed(RECIPES[recipe], {name: item for name, item in settings.items() if name not in own})


def _changed(recipe: Recipe, plain: Mapping[str, Any]) -> Recipe:
    known = {item.name: getattr(recipe, item.name) for item in fields(Recipe)}
    for name, value in plain.items():
        if name not in known:
            raise unknown_name("setting", f"finetune.{name}", [f"finetune.{item}" for item in known])
        wanted = (int, float) if isinstance(known[name], float) else type(known[name])
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise Fatal(f"finetune.{name} must be like {known[name]!r}, not {value!r}.")
    return replace(recipe, **plain)


def finetune(settings: Settings, progress: Progress) -> str:
    """Adapt an encoder to train rows, score it on val rows, keep it in `finetuned/<label>-<per>.safetensors`."""
    if find_spec("torch") is None:
        raise Fatal("fine-tuning needs PyTorch; install it with: pip install 'geocorpus[train]'.")
    from training.evaluate.finetune import finetune as tune
    from training.evaluate.samples import chip_samples, pixel_samples
    from training.weights.weights import load_encoder

    task, recipe = Task.of(settings.finetune)
    corpus, pretrained = Corpus.open(settings.folder), load_encoder(task.weights)
    patch = pretrained.encoder.patch_px
    image_px = task.image_px or corpus.manifest.size_px // patch * patch
    read = chip_samples if task.per == "chip" else pixel_samples
    train, val = (read(corpus, pretrained.normalisation, task.label, split, image_px) for split in ("train", "val"))
    tuned = tune(pretrained, train, recipe, progress)
    path = settings.folder / FINETUNED / f"{task.label}-{task.per}.safetensors"
    tuned.save(path)
    scores = tuned.score(val)
    return (
        f"{task.label} per {task.per}, {len(train)} chips: accuracy {scores.accuracy:.3f}, mean IoU "
        f"{scores.mean_iou:.3f} on {len(val)} val chips; the model is {path}."
    )


def convert(source: str, target: Path, sha256: str | None) -> str:
    """Write the encoder in `source` as safetensors that stand alone; says what it is."""
    if find_spec("torch") is None:
        raise Fatal("converting weights needs PyTorch; install it with: pip install 'geocorpus[train]'.")
    from training.weights.weights import load_encoder, save_encoder

    pretrained = load_encoder(source, sha256)
    save_encoder(target, pretrained)
    item = pretrained.encoder.architecture
    bands = "; ".join(f"{name} {', '.join(bands)}" for name, bands in pretrained.normalisation.band_names.items())
    return f"{target}: {item.size_name or 'an encoder'}, {item.stem} stem, patch {item.patch_px} px, looks at {bands}."
