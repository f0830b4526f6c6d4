"""Where `geocorpus search` writes: a table and a sheet of pictures beside it, over nothing but an earlier search's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from exporters.formats.convert import refuse_address, refuse_own_folder
from exporters.formats.embeddings.store import EmbeddingStore
from pipeline.corpus import Corpus
from pipeline.errors import Fatal

_SHEET = ".png"
_OURS = {"rank", "id", "row", "geometry"}


@dataclass(frozen=True)
class FoundFile:
    """The file `table` of what a search finds, and its `sheet` of pictures."""

    table: Path

    @property
    def sheet(self) -> Path:
        """The pictures of the first chips."""
        return self.table.with_suffix(_SHEET)

    def refuse(self, store: EmbeddingStore, corpus: Corpus | None) -> None:
        """Raise `Fatal` where writing would replace the store, a part of the corpus, or another file."""
        refuse_address(self.table)
        if self.table.suffix.lower() == _SHEET:
            raise Fatal(f"{self.table} is the name of pictures; name the table, such as {self.table.stem}.parquet.")
        if self.table.resolve().is_relative_to(store.path.resolve()):
            raise Fatal(f"{self.table} lies in the store that is searched; choose another file.")
        if corpus is not None:
            refuse_own_folder(corpus, self.table)
        taken = self.table if self.table.exists() else self.sheet
        if taken.exists() and not _is_found(self.table):
            raise Fatal(f"{taken} exists, and is not of an earlier search; choose another file.")


def _is_found(path: Path) -> bool:
    try:
        return set(pq.read_schema(path).names) >= _OURS
    except (OSError, pa.ArrowException):
        return False
