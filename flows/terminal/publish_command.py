"""The command that publishes a corpus, with its progress."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from flows import publishing
from flows.progress.display import display


def publish(
    folder: Path,
    target: Path,
    about: Path | None,
    given: Mapping[str, Any],
    links: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write a corpus as a data set for others and print lines about it."""
    with display(as_json) as progress:
        lines = publishing.publish(folder, target, about, given, links, overwrite, progress)
    typer.echo(json.dumps({"target": str(target), "done": lines}) if as_json else lines)
