"""What a corpus was imported from, and what that source could not say; a file in the corpus folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from pipeline import durable

IMPORTED = "import.json"


@dataclass(frozen=True)
class Imported:
    """`source` as it was typed, absolute; the `format` and its `options`; the `layers` that came, by name.

    `unknown` are sentences about facts of chips that the source does not have.
    """

    source: str
    format: str
    options: dict[str, str]
    layers: tuple[str, ...]
    unknown: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """That of the corpus in `folder`; None for one that was not imported. Raises `Fatal` for a damaged file."""
        path = folder / IMPORTED
        return durable.read_as(path, cls, "delete it and import again") if path.exists() else None

    def write(self, folder: Path) -> None:
        """Publish it; raises `Fatal` when the folder cannot be written to."""
        durable.write_json(folder / IMPORTED, asdict(self))

    def command(self, folder: Path) -> str:
        """What to type to go on with the import."""
        options = "".join(f" --set {key}={value}" for key, value in self.options.items())
        return f"geocorpus import {self.source} {folder} --from {self.format}{options}"
