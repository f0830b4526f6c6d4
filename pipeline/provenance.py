"""What a corpus was put together from; a file in the corpus folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pipeline import durable
from pipeline.corpus_folder import PROVENANCE


@dataclass(frozen=True)
class Provenance:
    """`made_by` is the command, of a `release`; `sources` say of each corpus its folder, state and rows taken.

    `brought` are the layers that no settings define, as they were imported or read from files.
    """

    made_by: str
    release: str
    sources: list[dict[str, Any]]
    brought: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """That of the corpus in `folder`; None for one that is not made of others. Raises `Fatal` for a damaged one."""
        path = folder / PROVENANCE
        return durable.read_as(path, cls, "restore it from a copy") if path.exists() else None

    def write(self, folder: Path) -> None:
        """Publish it; raises `Fatal` when the folder cannot be written to."""
        durable.write_json(folder / PROVENANCE, asdict(self))
