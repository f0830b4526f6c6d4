"""The public names of geocorpus, imported when they are first used: `import geocorpus` itself costs next to nothing.

Every name is the same object as in the module that `_NAMES` puts it in; modules may move, these names stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geocorpus.hidden import refuse_hidden as _refuse_hidden

if TYPE_CHECKING:  # What type checkers and editors read; a test holds it to `_NAMES` and `__all__`.
    from exporters.earth_engine.client import Connection, connect
    from exporters.expressions import (
        ORBIT_PASSES,
        SEASONS,
        around_anchor,
        at_anchor,
        between,
        mode_over_year,
        on_pixels_of,
        per_orbit_pass,
        seasons,
        static,
        tiles,
        unfinished,
        where_complete,
        with_fallback,
    )
    from exporters.origin import Origin
    from exporters.sources import Local, Pixels, Region
    from geocorpus.building import anchor, build, export, finalize, sample
    from geocorpus.corpus import Corpus, open
    from geocorpus.embedding import embed, fewshot
    from geocorpus.pretraining import pretrain
    from pipeline import errors
    from pipeline.chip import Acquisition, Chip, Scene
    from pipeline.grid import Grid
    from pipeline.licence import Licence
    from pipeline.location import Location
    from pipeline.manifest import Manifest
    from pipeline.modality import Band, Category, Display, Modality
    from pipeline.observed import Channel, CloudDetection, Observed, SkyClasses
    from pipeline.shard import Shard
    from training.evaluate.finetune import finetune
    from training.evaluate.finetuned import load_finetuned
    from training.evaluate.lazy_samples import LazySamples
    from training.evaluate.own_moments import own_moments
    from training.evaluate.probed import probe_layer as probe
    from training.evaluate.recipe import RECIPES
    from training.evaluate.samples import Samples
    from training.evaluate.search.nearest import nearest as nearest_vectors
    from training.evaluate.search.unit_rows import unit_rows as unit_vectors
    from training.weights.weights import load_encoder, save_encoder

    __version__: str

__all__ = [
    "Acquisition", "Band", "Category", "Channel", "Chip", "CloudDetection", "Connection", "Corpus", "Display", "Grid",
    "LazySamples", "Licence", "Local", "Location", "Manifest", "Modality", "ORBIT_PASSES", "Observed", "Origin",
    "Pixels", "RECIPES", "Region", "SEASONS", "Samples", "Scene", "Shard", "SkyClasses", "anchor", "around_anchor",
    "at_anchor", "between", "build", "connect", "embed", "errors", "export", "fewshot", "finalize", "finetune",
    "load_encoder", "load_finetuned", "mode_over_year", "nearest_vectors", "on_pixels_of", "open", "own_moments",
    "per_orbit_pass", "pretrain", "probe", "sample", "save_encoder", "seasons", "static", "tiles", "unfinished",
    "unit_vectors", "where_complete", "with_fallback",
]  # fmt: skip

_refuse_hidden()  # before any of the other packages is imported

# What each module gives. One that gives nothing by name is a public name itself.
_NAMES: dict[str, tuple[str, ...]] = {
    # The nouns, and what reads them.
    "pipeline.chip": ("Acquisition", "Chip", "Scene"),
    "pipeline.errors": (),
    "pipeline.grid": ("Grid",),
    "pipeline.licence": ("Licence",),
    "pipeline.location": ("Location",),
    "pipeline.manifest": ("Manifest",),
    "pipeline.modality": ("Band", "Category", "Display", "Modality"),
    "pipeline.observed": ("Channel", "CloudDetection", "Observed", "SkyClasses"),
    "pipeline.shard": ("Shard",),
    "geocorpus.corpus": ("Corpus", "open"),
    # What a modality file needs.
    "exporters.origin": ("Origin",),
    "exporters.sources": ("Local", "Pixels", "Region"),
    "exporters.expressions": (
        "ORBIT_PASSES", "SEASONS", "around_anchor", "at_anchor", "between", "mode_over_year", "on_pixels_of",
        "per_orbit_pass", "seasons", "static", "tiles", "unfinished", "where_complete", "with_fallback",
    ),
    # The stages of a corpus.
    "geocorpus.building": ("sample", "anchor", "export", "finalize", "build"),
    # Earth Engine.
    "exporters.earth_engine.client": ("Connection", "connect"),
    # Encoders.
    "geocorpus.pretraining": ("pretrain",),
    "training.weights.weights": ("load_encoder", "save_encoder"),
    "training.evaluate.probed": ("probe",),
    "training.evaluate.samples": ("Samples",),
    "training.evaluate.lazy_samples": ("LazySamples",),
    "training.evaluate.own_moments": ("own_moments",),
    "training.evaluate.recipe": ("RECIPES",),
    "training.evaluate.finetune": ("finetune",),
    "training.evaluate.finetuned": ("load_finetuned",),
    # Embeddings.
    "geocorpus.embedding": ("embed", "fewshot"),
    "training.evaluate.search.nearest": ("nearest_vectors",),
    "training.evaluate.search.unit_rows": ("unit_vectors",),
}  # fmt: skip
_CALLED_THERE = {"probe": "probe_layer", "nearest_vectors": "nearest", "unit_vectors": "unit_rows"}
_HOMES = {name: module for module, names in _NAMES.items() for name in names or (module.rpartition(".")[2],)}


def __getattr__(name: str) -> Any:
    """Import what `name` stands for; raises `NotInstalled`, an `ImportError`, where the extra for it is absent."""
    if name == "__version__":
        from importlib.metadata import version

        return version("geocorpus")
    if name not in _HOMES:
        raise AttributeError(f"geocorpus has no {name!r}; dir(geocorpus) lists what it has.")
    from geocorpus.extras import imported_with_extra

    module = imported_with_extra(_HOMES[name], f"geocorpus.{name}")
    value = getattr(module, _CALLED_THERE.get(name, name)) if _NAMES[_HOMES[name]] else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
