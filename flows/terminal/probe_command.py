"""The command `probe`: on a layer of a corpus, or on labelled images of the field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import typer

from flows.closing import as_json as closing_json
from flows.exchange import options_of
from flows.progress.display import display
from pipeline.errors import Fatal


def of_corpus(weights: str, label: str | None, corpus: Path | None, chips: int, as_json: bool) -> None:
    """Print the table of a layer of a corpus, or of an owner's column."""
    from flows.probing import probe

    if label is None:
        raise Fatal("nothing says what to probe; give --label, a layer of the corpus, or --data, such as folder:PATH.")
    said = probe(weights, label, corpus, chips)
    typer.echo(json.dumps(closing_json(said, str(corpus or ""))) if as_json else said)


def of_data(
    weights: str, data: str, label: str | None, options: Sequence[str], out: Path | None, as_json: bool
) -> None:
    """Print the table of labelled images, and write it to `out`; `label` is a column of a table."""
    from flows.benchmarks.probing import probe

    given = options_of(options) | ({"label": label} if label else {})
    with display(as_json) as progress:
        closing = probe(weights, data, given, out, progress)
    typer.echo(json.dumps(closing_json(closing, str(out or ""))) if as_json else closing)
