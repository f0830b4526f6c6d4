"""The command that opens the explorer, or writes it as files."""

from __future__ import annotations

from pathlib import Path

import typer

from flows.progress.display import display
from flows.viewer.export import export
from flows.viewer.server import serve


def view(folder: Path, port: int, show: bool, embeddings: Path | None, target: Path | None, chips: int) -> None:
    """Serve the explorer of a corpus until interrupted; with `target`, write it there as files instead."""
    if target is None:
        serve(folder, port, show, typer.echo, embeddings)
        return
    with display(as_json=False) as progress:
        line = export(folder, target, chips, progress)
    typer.echo(line)
