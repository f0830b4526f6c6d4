"""The command that makes several corpora one, with its progress."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import typer

from exporters.formats.corpora.merger import Merger
from flows import merging
from flows.progress.display import display

__all__ = ["Merger", "merge"]


def merge(
    folders: Sequence[Path], target: Path, how: Merger, buffer_m: float | None, overwrite: bool, as_json: bool
) -> None:
    """Write several corpora as one and print a line."""
    with display(as_json) as progress:
        line = merging.merge(folders, target, how, buffer_m, overwrite, progress)
    typer.echo(json.dumps({"target": str(target), "done": line}) if as_json else line)
