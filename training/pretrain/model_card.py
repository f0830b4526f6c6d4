"""The model card of a run: data, settings, losses, limits and how to load it, from the facts of the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.manifest import SPLITS
from pipeline.modality import Modality
from training.data.joined_corpus import parts_of
from training.method import CardText
from training.pretrain.resolved_run import ResolvedRun
from training.pretrain.result import PretrainResult
from training.words import listed

CARD = "model_card.md"
_SKIPPED_SHOWN = 10
_OF_THE_NET = ("encoder", "stem", "response", "image_px", "patch_px")
_OF_THE_LOOP = ("blr", "warmup", "weight_decay", "betas", "clip_grad", "ema", "augment", "seed")


def write_card(path: Path, resolved: ResolvedRun, run: Mapping[str, Any], result: PretrainResult) -> None:
    """Write the card of a finished run as Markdown; `run` is the content of its `run.json`.

    An existing card is kept when the run is called again and has no steps left.
    """
    if path.exists() and not result.samples_per_s:
        return
    text = _text(resolved)
    parts = [
        _head(run, result, text),
        _data(resolved.corpus, run),
        _training(run, result, text),
        _use(run, result, text),
    ]
    durable.write_text(path, "\n".join(line for part in parts for line in [*part, ""]))


def _text(resolved: ResolvedRun) -> CardText:
    """What the method says of itself, or that it says nothing."""
    config, card = resolved.config, resolved.method.card
    return card(config) if card else CardText(f"by the method `{config.method}`", "those of the method, on train chips")


def _head(run: Mapping[str, Any], result: PretrainResult, text: CardText) -> list[str]:
    config = run["config"]
    sizes = f"{config['image_px']} px images in {config['patch_px']} px patches"
    net = f"{text.net} ({sizes})" if text.net else f"A ConvNeXt V2 encoder ({config['encoder']}, {sizes})"
    return [
        f"# {'Encoders' if text.net else config['encoder'] + ' encoder'} of {listed(config['inputs'])}",
        "",
        f"{net}, pretrained with geocorpus {text.task}, for {result.steps:,} steps of {run['batch_size']:,} chips.",
    ]


def _data(corpus: Corpus, run: Mapping[str, Any]) -> list[str]:
    manifest = corpus.manifest
    splits = manifest.column("split")
    counts = ", ".join(f"{np.count_nonzero(splits == name):,} {name}" for name in SPLITS)
    dates = manifest.column("anchor_time").astype("datetime64[D]")
    names = list(dict.fromkeys([*run["config"]["inputs"], *run["config"]["targets"]]))
    return [
        "## Data",
        f"- Corpus `{run['corpus'][:16]}`, manifest `{manifest.digest.removeprefix('sha256:')[:16]}`.",
        f"- {len(manifest):,} chips of {manifest.size_px} px: {counts}. The run saw {run['train_rows']:,} train chips, "
        "and no other.",
        *_joined(corpus),
        *_left_out(run),
        *_grown(corpus),
        f"- Places: {_span(manifest.column('lat'), 'S', 'N')} and {_span(manifest.column('lon'), 'W', 'E')}.",
        f"- Dates of the anchor scenes: {dates.min()} to {dates.max()}.",
        "- A corpus of the built-in sandbox shows a made-up planet; weights made from it know nothing of the Earth.",
        "",
        "| layer | bands used | role | source, whose licence its data keep |",
        "|---|---|---|---|",
        *(_layer_row(corpus.modality(name), run) for name in names),
    ]


def _joined(corpus: Corpus) -> Iterable[str]:
    """The corpora of which it is joined."""
    parts = parts_of(corpus)
    chips = (f"`{part.folder.name}` ({len(part.manifest):,}, manifest `{part.manifest.digest[:16]}`)" for part in parts)
    return [f"- Chips of several corpora: {listed(tuple(chips))}."] if len(parts) > 1 else []


def _grown(corpus: Corpus) -> Iterable[str]:
    """Which part the run saw of a corpus that has grown meanwhile."""
    rows, now = len(corpus.manifest), len(corpus.whole)
    return [f"- The corpus has {now:,} chips now: the run saw it when it was the first {rows:,}."] if now > rows else []


def _left_out(run: Mapping[str, Any]) -> Iterable[str]:
    count, only = len(run["config"].get("leave_out", ())), run["config"].get("only")
    if count:
        yield f"- {count:,} chips were left out by hand (`pretrain.leave_out` in `run.json`)."
    if only:
        yield "- The run kept to the train chips that `pretrain.only` in `run.json` names."


def _layer_row(modality: Modality, run: Mapping[str, Any]) -> str:
    roles = [role for role in ("inputs", "targets") if modality.name in run["config"][role]]
    role = " and ".join(item.removesuffix("s") for item in roles)
    bands = " ".join(run["layers"][modality.name]["bands"])
    source = ", ".join(filter(None, [*(f"`{item}`" for item in modality.assets), modality.reference]))
    return f"| {modality.name} | {bands} | {role} | {source or 'computed from place and date'} |"


def _span(degrees: Any, negative: str, positive: str) -> str:
    values = np.asarray(degrees, dtype=np.float64)
    low, high = (f"{abs(item):.1f}° {positive if item >= 0 else negative}" for item in (values.min(), values.max()))
    return f"{low} to {high}"


def _training(run: Mapping[str, Any], result: PretrainResult, text: CardText) -> list[str]:
    config, versions = run["config"], run["versions"]
    of_the_net = () if text.net else _OF_THE_NET
    named = {name: config[name] for name in (*of_the_net, *text.settings, *_OF_THE_LOOP) if name in config}
    settings = ", ".join(f"`{name} = {value}`" for name, value in (named | config.get("options", {})).items())
    return [
        "## Training",
        f"- {result.steps:,} steps of {run['batch_size']:,} chips, {run['steps_per_epoch']:,} an epoch; {settings}.",
        *([f"- The run {run['began_with']}."] if "began_with" in run else []),
        *_throughput(run, result),
        *_skipped(result),
        f"- Versions: {', '.join(f'{name} {item}' for name, item in versions.items() if item)}"
        + (f"; code {run['commit']}." if run.get("commit") else "."),
        f"- Losses are {text.losses}. They do not measure use: probe the encoder for that.",
        "",
        "| target | first | last |",
        "|---|---|---|",
        *(f"| {name} | {first:.3f} | {result.last_losses[name]:.3f} |" for name, first in result.first_losses.items()
          if name in result.last_losses),
        *_validated(run, result),
    ]  # fmt: skip


def _validated(run: Mapping[str, Any], result: PretrainResult) -> Iterable[str]:
    """Losses and scores on val chips: of the first weights, and of the last."""
    if not result.validations:
        return []
    first, last = (item.named() for item in (result.validations[0], result.validations[-1]))
    steps = f"after {result.validations[0].step:,} steps | after {result.validations[-1].step:,}"
    weights = ", by the averaged weights" if run["config"].get("ema") else ""
    label = run["config"].get("monitor")
    return [
        "",
        f"On {result.val_chips:,} val chips, with the same masks each time{weights}"
        + (f"; `monitor` is how well frozen features tell `{label}`:" if label else ":"),
        "",
        f"| on val chips | {steps} |",
        "|---|---|---|",
        *(f"| {name} | {value:.3f} | {last[name]:.3f} |" for name, value in first.items() if name in last),
    ]


def _throughput(run: Mapping[str, Any], result: PretrainResult) -> Iterable[str]:
    environment = run.get("environment", {})
    where = ", ".join(f"{name} {item}" for name, item in environment.items() if item not in (None, False))
    speed = f"{result.samples_per_s:.1f} chips/s in its last launch" if result.samples_per_s else ""
    text = "; ".join(filter(None, [speed, where]))
    return [f"- {text}."] if text else []


def _skipped(result: PretrainResult) -> Iterable[str]:
    """Which steps changed no weight, and why."""
    count = len(result.skipped)
    if not count:
        return []
    shown = "; ".join(f"{item.where}: {item.cause}" for item in result.skipped[:_SKIPPED_SHOWN])
    more = f"; and {count - _SKIPPED_SHOWN} more" if count > _SKIPPED_SHOWN else ""
    steps = f"{count} of {result.steps:,} steps"
    return [f"- Skipped, as the loss or the gradients were not finite, {steps}: {shown}{more}."]


def _use(run: Mapping[str, Any], result: PretrainResult, text: CardText) -> list[str]:
    config = run["config"]
    given = ", ".join(f'"{name}": stored' for name in text.takes or config["inputs"])
    return [
        "## Use and limits",
        f"- Meant for features of {listed(config['inputs'])} and for fine-tuning. Bands, their order and their "
        "normalisation are those of the table, and inside the weights; other sensors or levels need their own moments.",
        f"- Trained on crops of {config['image_px']} px; any multiple of {config['patch_px']} px goes.",
        "- Not evaluated by this card on any task: `geocorpus probe` compares it with random weights and plain band "
        "statistics, which are not always worse.",
        "- Targets are products of models with errors of their own, which the encoder learns along with what is right.",
        "",
        "```python",
        "from training.weights.weights import load_encoder",
        "",
        f'pretrained = load_encoder("{result.weights.name}")   # with the folder before it, or an address',
        f"image = pretrained.normalisation.image({{{given}}}, groups)   # stored values (rows, bands, y, x)",
        "features = pretrained.encoder(image)   # (rows, width, patches down, patches across)",
        "```",
    ]  # fmt: skip
