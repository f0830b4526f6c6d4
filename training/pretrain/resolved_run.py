"""A configuration resolved against a corpus before anything is written: layers, batches, number of steps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from training.config import PretrainConfig
from training.data.batch_loader import BatchLoader
from training.data.joined_corpus import parts_of
from training.data.left_out import as_stretches, rows_kept_to, rows_left_out
from training.data.outside import hiding_outside
from training.layer import Layer, layer_of
from training.method import Method
from training.model.normalisation import Normalisation
from training.pretrain.method_options import with_options
from training.pretrain.presence import has_data
from training.pretrain.registry import method_of
from training.pretrain.selection import resolve_names
from training.words import listed


@dataclass(frozen=True)
class ResolvedRun:
    """A run with everything that follows from its configuration and its corpus.

    `corpus_digest` changes with the manifest, a specification, a statistic or the set of train rows. `shards` are the
    indices of the shards from which rows and statistics come.
    """

    config: PretrainConfig
    method: Method
    inputs: tuple[Layer, ...]
    targets: tuple[Layer, ...]
    loader: BatchLoader
    corpus_digest: str
    corpus: Corpus
    shards: tuple[int, ...] = ()

    @property
    def steps(self) -> int:
        """Optimisation steps of the whole run."""
        return self.config.steps or self.config.epochs * self.loader.steps_per_epoch

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Inputs and targets, each layer once."""
        return tuple({layer.name: layer for layer in (*self.inputs, *self.targets)}.values())

    @property
    def facts(self) -> dict[str, Any]:
        """Derived numbers for `run.json`; a relaunch of the run uses the same `shards`."""
        loader = self.loader
        return {
            "steps": self.steps, "steps_per_epoch": loader.steps_per_epoch, "batch_size": loader.batch_size,
            "train_rows": len(loader.rows), "shards": list(self.shards), "manifest": self.corpus.manifest.digest,
            **self._corpora,
        }  # fmt: skip

    @property
    def _corpora(self) -> dict[str, Any]:
        """Of joined corpora, which they are."""
        known = [{"folder": str(part.folder), "manifest": part.manifest.digest} for part in parts_of(self.corpus)]
        return {"corpora": known} if len(known) > 1 else {}

    @property
    def identity(self) -> dict[str, Any]:
        """What identifies the checkpoints of this run, and what their users need to prepare the same input."""
        return {
            "config": self.config.to_dict(),
            "corpus": self.corpus_digest,
            "layers": {layer.name: layer.describe() for layer in (*self.inputs, *self.targets)},
            "inputs": Normalisation.of(self.inputs).to_dict(),
        }


def resolve_run(corpus: Corpus, config: PretrainConfig, shards: Sequence[int] | None = None) -> ResolvedRun:
    """Resolve `config` against `corpus`; `shards` are those with which the run started, None for a new run.

    Raises `Fatal` for an unknown modality or band, an input without pixels or without data, a crop larger than the
    chips, chips to leave out that are not there, a corpus without finished train rows, or one that is still being built
    unless the configuration allows it; for a method that cannot be used, or that the layers or settings do not fit.
    """
    method = method_of(config)
    config = resolve_names(with_options(config, method), corpus.modalities, method.targets)
    config = _with_rows(config, corpus)
    names = tuple(dict.fromkeys((*config.inputs, *config.targets)))
    for name in (*names, *config.bands):
        corpus.modality(name)
    unfinished = {shard.index for shard in corpus.missing(names)}
    used = tuple(
        shards if shards is not None else (item.index for item in corpus.shards if item.index not in unfinished)
    )
    if len(used) < len(corpus.shards):
        corpus = corpus.restricted_to(used)
    layers = {name: _layer(corpus, name, config) for name in names}
    if config.presence and not method.presence:
        raise Fatal(f"method {config.method!r} is not told which inputs a chip lacks; leave pretrain.presence out.")
    inputs = tuple(replace(layers[name], presence=config.presence) for name in config.inputs)
    targets = tuple(layers[name] for name in config.targets)
    _check(corpus, config, inputs)
    _refuse_blind(corpus, inputs)
    loader = BatchLoader(corpus, tuple(layers.values()), config)
    _refuse_empty(inputs, targets)
    method.check(inputs, targets, config)
    if method.check_rows:
        method.check_rows({layer.name: has_data(corpus, layer.name, loader.rows) for layer in inputs})
    if not config.unfinished:
        _refuse_unfinished(corpus, len(unfinished))
    return ResolvedRun(config, method, inputs, targets, loader, _digest(corpus, layers, loader), corpus, used)


def _layer(corpus: Corpus, name: str, config: PretrainConfig) -> Layer:
    layer = layer_of(corpus, name, config.bands)
    return hiding_outside(corpus, layer) if config.hide_outside else layer


def _with_rows(config: PretrainConfig, corpus: Corpus) -> PretrainConfig:
    """The configuration with rows in place of ids and files of them."""
    left_out, only = rows_left_out(corpus, config.leave_out), rows_kept_to(corpus, config.only)
    return replace(config, leave_out=tuple(left_out.tolist()), only=as_stretches(only))


def resolve_again(corpus: Corpus, config: PretrainConfig, run: Mapping[str, Any]) -> ResolvedRun:
    """Resolve a run that has begun, `run` being its `run.json`: in the state of the corpus that it saw then.

    A corpus may have grown since, and an earlier release may have begun it in another order of chips. Raises `Fatal`
    as `resolve_run` does.
    """
    config = config.as_begun(run.get("config", {}))
    _refuse_others(corpus, run)
    for state in _possible_states(corpus, run):
        try:
            resolved = resolve_run(corpus.at(state), config, run["shards"])
        except Fatal:  # by a shorter corpus than the run's: a band without data, say
            continue
        if resolved.corpus_digest == run["corpus"]:
            return resolved
    return resolve_run(corpus, config, run["shards"])


def _refuse_others(corpus: Corpus, run: Mapping[str, Any]) -> None:
    """Raise `Fatal` where a run that has begun saw other corpora, or another number of them."""
    parts, known = parts_of(corpus), run.get("corpora", [])
    if len(parts) != max(1, len(known)):
        raise Fatal(
            f"the run was begun with {max(1, len(known))} corpora, and {len(parts)} are given now; make pretrain.also "
            "what it was, or give the new run a name with pretrain.run=NAME."
        )
    for part, item in zip(parts, known, strict=False):
        if item["manifest"] not in part.manifest.lineage:
            raise Fatal(
                f"the corpus in {part.folder} is not the one that the run was begun with, then in {item['folder']}; "
                "put that back, or give the new run a name with pretrain.run=NAME."
            )


def _refuse_blind(corpus: Corpus, inputs: tuple[Layer, ...]) -> None:
    """Raise `Fatal` for a corpus among several that has none of the inputs."""
    for part in parts_of(corpus):
        if not any(layer.name in part.modalities for layer in inputs):
            names = ", ".join(layer.name for layer in inputs)
            raise Fatal(f"the corpus in {part.folder} has none of the inputs {names}; leave it out of pretrain.also.")


def _possible_states(corpus: Corpus, run: Mapping[str, Any]) -> list[str]:
    """The run's state; of a run that does not name it, all earlier ones, oldest first."""
    manifest = corpus.manifest
    known = [run["manifest"]] if "manifest" in run else [item.digest for item in manifest.ancestors]
    return [digest for digest in known if digest in manifest.lineage]


def _check(corpus: Corpus, config: PretrainConfig, inputs: tuple[Layer, ...]) -> None:
    if not inputs:
        raise Fatal("pretrain.inputs names no modality; name at least one with pixels.")
    image_level = [layer.name for layer in inputs if not layer.pixel]
    if image_level:
        raise Fatal(
            f"modality {image_level[0]!r} has one value per chip and cannot be an input; leave it out of "
            "pretrain.inputs."
        )
    size_px = corpus.manifest.size_px
    if config.image_px > size_px:
        fitting = size_px // config.patch_px * config.patch_px
        remedy = f"pretrain.image_px={fitting}" if fitting else "a smaller pretrain.patch_px, and image_px"
        raise Fatal(
            f"pretrain.image_px {config.image_px} is larger than the corpus's {size_px} px chips; give {remedy}."
        )


def _refuse_unfinished(corpus: Corpus, count: int) -> None:
    if count:
        raise Fatal(
            f"{count} of {len(corpus.shards)} shards in {corpus.folder} are not finished; run `geocorpus "
            "export` first, or set pretrain.unfinished = true to train on the others."
        )


def _refuse_empty(inputs: tuple[Layer, ...], targets: tuple[Layer, ...]) -> None:
    """Refuse an input without data, and targets of which none has any: nothing would be learned, at a loss of 0.

    After the loader's checks, as statistics exist only for finished shards.
    """
    for layer in inputs:
        if not _holds_data(layer):
            raise Fatal(f"input {layer.name!r} holds no data in the train rows; choose another.")
    if targets and not any(map(_holds_data, targets)):
        names = listed([repr(layer.name) for layer in targets])
        raise Fatal(f"no target holds data in the train rows, of {names}; name another in pretrain.targets.")


def _holds_data(layer: Layer) -> bool:
    return any(moments.has_data.any() for moments in layer.groups.values())


def _digest(corpus: Corpus, layers: Mapping[str, Layer], loader: BatchLoader) -> str:
    parts = [corpus.manifest.digest, hashlib.sha256(loader.rows.tobytes()).hexdigest()]
    parts += [f"{name} {layer.modality.digest} {json.dumps(layer.describe())}" for name, layer in layers.items()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
