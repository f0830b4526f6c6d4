"""The command that opens the explorer, or writes it as files."""

from __future__ import annotations

from pathlib import Path

import typer

from flows.progress.display import display
from flows.viewer.export import export
from flows.viewer.server import Beside, serve


def view(folder: Path, port: int, show: bool, beside: Beside, chip: str) -> None:
    """Serve the explorer of a corpus until interrupted, with the `chip` of an id or row open, if it is not ""."""
    serve(folder, port, show, typer.echo, beside, chip)


def write_files(folder: Path, target: Path, chips: int) -> None:
    """Write the explorer of a corpus into `target`, with some chips."""
    with display(as_json=False) as progress:
        line = export(folder, target, chips, progress)
    typer.echo(line)
