"""The commands that take corpora out and in, with their progress."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import typer

from exporters.formats.choice import Choice
from exporters.formats.format import Format, formats
from exporters.formats.importer import Importer, importers
from flows import closing, exchange
from flows.progress.display import display
from flows.progress.progress_file import live

__all__ = ["Choice", "convert", "import_corpus"]


def convert(
    folder: Path, target: Path, to: str, choice: Choice, options: Iterable[str], overwrite: bool, as_json: bool
) -> None:
    """Write chips of a corpus in another format and print a line."""
    with display(as_json) as progress:
        line = exchange.convert(folder, target, to, choice, options, overwrite, progress)
    typer.echo(json.dumps({"target": str(target), "done": line}) if as_json else line)


def import_corpus(
    source: Path, folder: Path, form: str | None, options: Iterable[str], overrides: Sequence[str], as_json: bool
) -> None:
    """Make a corpus of what has another format and print closing lines."""
    with live(as_json, folder) as progress:
        message = exchange.import_corpus(source, folder, form, options, overrides, progress)
    typer.echo(json.dumps(closing.as_json(message, str(folder))) if as_json else message)


def ways_out() -> str:
    """All formats of `convert`."""
    return listing(formats())


def ways_in() -> str:
    """All formats of `import`."""
    files = f"{exchange.FILES:<12} rasters described by a TOML file, or {exchange.DESCRIPTION} in their folder"
    return f"{listing(importers())}\n{files}"


def listing(known: Mapping[str, Format] | Mapping[str, Importer]) -> str:
    """All formats with their options, a line each."""
    lines = []
    for item in known.values():
        lines += [
            f"{item.name:<12} {item.title}",
            *(f"{'':<12}   --set {key}={text}" for key, text in item.options.items()),
        ]
    return "\n".join(lines)
