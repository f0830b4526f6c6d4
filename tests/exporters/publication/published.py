"""Corpora that are published in tests, and what their publisher says."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from exporters.publication.about import About
from exporters.publication.creator import Creator
from exporters.publication.publish import Publication
from pipeline.corpus import Corpus
from pipeline.licence import Licence, cc_by_4
from pipeline.progress import Silent
from tests.pipeline.chips import CLIMATE, COVER, OPTICAL, make_block
from tests.pipeline.damage import SIZE_PX
from tests.pipeline.own_tables import make_own_manifest

ABOUT = About(
    title="Fields & forests", creators=(Creator("Doe, Jane", "0000-0002-1825-0097"), Creator("The Lab")),
    licence="CC-BY-4.0", url="https://huggingface.co/datasets/lab/fields", version="1.2.0", doi="10.5281/zenodo.1",
    published=date(2026, 11, 1), keywords=("crops",),
)  # fmt: skip
TERMS = {
    "optical": Licence("Copernicus Sentinel data terms", "https://example.org/terms", "Sentinel data [years]."),
    "cover": Licence("ODbL-1.0", "https://opendatacommons.org/licenses/odbl/1-0/", "© Contributors | all"),
    "climate": cc_by_4("Weather Service."),
}
PRIVATE = ("config.toml", "usage.json", "provenance.json", "runs/one/log.jsonl", "spool/x", ".lock", "publish.toml")
LAYERS = [replace(layer, licence=TERMS[layer.name]) for layer in (OPTICAL, COVER, CLIMATE)]


def own_corpus(folder: Path, chips: int = 9, shard_rows: int = 4) -> Corpus:
    """A finished corpus with an owner's columns, and the files beside it that are nobody else's business."""
    folder.mkdir(parents=True)
    make_own_manifest(folder, chips, SIZE_PX)
    corpus = Corpus.create(folder, LAYERS, shard_rows)
    for shard in corpus.shards:
        for layer in LAYERS:
            missing = {shard.start: "no scene"} if layer.name == "optical" else {}
            corpus.write(shard, layer.name, make_block(layer, len(shard), SIZE_PX, shard.index), missing)
    corpus.finalize()
    for name in PRIVATE:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("project = 'jane-at-work'")
    return Corpus.open(folder)


def publish(corpus: Corpus, target: Path, links: bool = False, overwrite: bool = False, **changes: Any) -> str:
    return Publication(corpus, replace(ABOUT, **changes), {}, links).write(target, overwrite, Silent())
