"""Publish a corpus: checks first, then the copy, its records, its checksums; the target is whole or not there."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from exporters.formats.convert import draft_beside, placing, put_in_place
from exporters.publication.about import About
from exporters.publication.card import CARD, card_text
from exporters.publication.checksums import sums_left, write_checksums
from exporters.publication.chip_items import ITEMS, ChipItems
from exporters.publication.citation import CITATION, citation_text
from exporters.publication.collection import COLLECTION, collection
from exporters.publication.copying import Copying
from exporters.publication.croissant import CROISSANT, croissant
from exporters.publication.dataset import Dataset
from exporters.publication.licence_table import LICENCES, licence_text
from exporters.publication.limits import refuse_too_many
from exporters.publication.terms import terms
from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.corpus_folder import place_of
from pipeline.errors import Fatal
from pipeline.licence import UNKNOWN, Licence
from pipeline.modality import Modality
from pipeline.progress import Progress
from pipeline.seal import SEAL

_BEGUN = "begun.json"  # in a draft: of what it is


@dataclass(frozen=True)
class Publication:
    """A corpus, what its publisher says of it, and the layers that are known here by name; `links` as in `Copying`."""

    corpus: Corpus
    about: About
    known: Mapping[str, Modality]
    links: bool = False

    def write(self, target: Path, overwrite: bool, progress: Progress) -> str:
        """Write the data set to the folder `target`; returns lines about it.

        What was brought before it was stopped stays in a draft beside the target, and the same command goes on there.
        Raises `Fatal` for a corpus that is not finished, sealed and whole, for more files than hubs take, for a target
        that exists, unless `overwrite`, and for a disk that is too small.
        """
        with placing([self.corpus], target, overwrite, sums_left):
            licences = self._checked()
            size = refuse_too_many(self.corpus)
            copying = Copying(self.corpus, self.about.columns, licences, self.links)
            copying.check(target, self._brought_bytes(target))
            draft = self._draft(target)
            dataset = Dataset(copying.write(draft, progress), self.about, licences)
            _write_records(dataset)
            (draft / _BEGUN).unlink()
            put_in_place(draft, target)
        chips, layers = len(self.corpus.manifest), len(self.corpus.modalities)
        files = f"some {size.files:,} files, at most {size.fullest:,} in one folder ({size.folder})"
        line = f"{chips:,} chips with {layers} layers are published in {target}: {files}."
        return "\n".join([line, *self._notes(licences)])

    def _checked(self) -> dict[str, Licence]:
        corpus = self.corpus
        if corpus.behind or corpus.missing():
            raise Fatal(f"the corpus in {corpus.folder} is not finished; run `geocorpus export {corpus.folder}` first.")
        if not (corpus.folder / SEAL).exists():
            raise Fatal(f"the corpus in {corpus.folder} is not sealed; run `geocorpus finalize {corpus.folder}` first.")
        return terms(corpus, self.about, self.known)

    def _draft(self, target: Path) -> Path:
        """The folder beside the target, with what an earlier run of the same has brought."""
        draft = draft_beside(target)
        if not self._has_begun(draft):
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            durable.write_text(draft / _BEGUN, self._plan())
        durable.sweep(draft)  # what a killed run was writing would be published
        return draft

    def _brought_bytes(self, target: Path) -> int:
        """How much of the copy an earlier run of the same has brought; what another one left goes."""
        draft = draft_beside(target)
        return place_of(draft).size_bytes() if self._has_begun(draft) and place_of(draft).exists else 0

    def _has_begun(self, draft: Path) -> bool:
        """Whether a draft is of the same."""
        begun = draft / _BEGUN
        return begun.exists() and begun.read_text(encoding="utf-8") == self._plan()

    def _plan(self) -> str:
        """What decides the bytes of the copy: the state of the corpus, and what is left out of it."""
        digest = hashlib.sha256((self.corpus.folder / SEAL).read_bytes()).hexdigest()
        return json.dumps({"seal": digest, "columns": sorted(self.about.columns), "links": self.links})

    def _notes(self, licences: Mapping[str, Licence]) -> list[str]:
        own = [name for name in self.corpus.manifest.own_columns if name not in self.about.columns]
        unknown = sorted(name for name, licence in licences.items() if licence == UNKNOWN)
        notes = [
            (own, "Columns of yours that are not published (--column NAME publishes one)"),
            (unknown, "Layers of unknown licence (say it under [layers.NAME] in publish.toml)"),
        ]
        return [f"{what}: {', '.join(names)}." for names, what in notes if names]


def _write_records(dataset: Dataset) -> None:
    folder = dataset.corpus.folder
    ChipItems(dataset).write(folder / ITEMS)
    for name, content in ((COLLECTION, collection(dataset)), (CROISSANT, croissant(dataset))):
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, text in (
        (CARD, card_text(dataset)), (LICENCES, licence_text(dataset)), (CITATION, citation_text(dataset)),
    ):  # fmt: skip
        (folder / name).write_text(text, encoding="utf-8")
    write_checksums(dataset.corpus, but=_BEGUN)
