"""Writes a new corpus from a composition: manifest, shards, ledger, statistics and seal, as an export would."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from exporters.formats.corpora.composition import Composition
from exporters.formats.corpora.layer_transfer import LayerTransfer
from exporters.formats.corpora.provenance import provenance_of
from exporters.formats.corpora.settings_copy import SETTINGS, copy_settings
from pipeline.corpus import Corpus
from pipeline.corpus_folder import LEDGER, MANIFEST, PROVENANCE, SOURCES, STATISTICS, STORE
from pipeline.lock import LOCK
from pipeline.manifest import Manifest
from pipeline.progress import Progress
from pipeline.seal import SEAL
from pipeline.verification import MANIFEST_DIGEST

_AT_ONCE = 2  # shards in memory, some 350 MB each
_LEFT = (
    MANIFEST, MANIFEST_DIGEST, PROVENANCE, STORE, LEDGER, STATISTICS, SEAL, SETTINGS, SOURCES, LOCK,
)  # fmt: skip


def assemble(composition: Composition, folder: Path, shard_rows: int, made_by: str, progress: Progress) -> Corpus:
    """Write the corpus into `folder`, which does not exist, and seal it; returns it.

    Raises `Fatal` for a source's shard that is not finished or is damaged, and when the folder cannot be written to.
    """
    folder.mkdir(parents=True)
    composition.manifest.write(folder / MANIFEST)
    provenance_of(composition, made_by).write(folder)
    manifest = Manifest.read(folder / MANIFEST)
    target = Corpus.create(folder, composition.layers, shard_rows, manifest=manifest)
    copy_settings(composition.sources, target)
    progress.start("shards", len(target.shards) * len(composition.layers))
    for modality in composition.layers:
        _write_layer(LayerTransfer(composition, target, modality.name), progress)
    target.finalize()
    return target


def _write_layer(transfer: LayerTransfer, progress: Progress) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for _ in pool.map(transfer.write, transfer.target.shards):
                progress.advance()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def corpus_left(folder: Path) -> tuple[str, ...]:
    """What `assemble` left in a folder; training runs, and what else was done with the corpus since, are not of it."""
    return _LEFT if (folder / MANIFEST).is_file() and (folder / PROVENANCE).is_file() else ()
