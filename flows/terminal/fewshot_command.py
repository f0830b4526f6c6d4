"""The command that compares encoders by the labels that they need: `fewshot`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

_FAMILIES = "nearest,linear,forest"


def fewshot(
    corpus: Annotated[Path, typer.Argument(help="A corpus folder.")],
    encoder: Annotated[list[str], typer.Option(help="A run's folder, a file of weights, or NAME=one; repeatable.")],
    target: Annotated[
        list[str],
        typer.Option(help="LAYER:CLASS+CLASS, LAYER:BAND, LAYER, a column, a raster file, or NAME=one; repeatable."),
    ],
    out: Annotated[Path, typer.Option(help="The folder for tables, plots, draws and the page.")],
    alone: Annotated[str | None, typer.Option(help="A run of the same encoder on one sensor alone.")] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="A sensor or SENSOR.BAND to leave out, or sensors, or channels: each in turn; repeatable."),
    ] = None,
    regions: Annotated[str | None, typer.Option(help="A column, such as stratum: from region to region.")] = None,
    shots: Annotated[str | None, typer.Option(help="Numbers of labels, such as 10,50,200; all always follow.")] = None,
    draws: Annotated[int, typer.Option(min=1, help="Draws of each number of labels.")] = 20,
    heads: Annotated[str, typer.Option(help="Families of models.")] = _FAMILIES,
    resamples: Annotated[int, typer.Option(min=100, help="Of the bootstrap.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of draws, folds, forests, resamples and random weights.")] = 0,
    chips: Annotated[int | None, typer.Option(min=2, help="At most so many chips of each split.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: JSON.")] = False,
) -> None:
    """How many labels encoders need: few labels, many draws, simple models; tables, plots and a page."""
    from flows.fewshot.compare import few_shot
    from flows.fewshot.outputs import PAGE, write
    from flows.fewshot.plan import Named, Plan
    from flows.fewshot.target import Target
    from flows.progress.display import display

    plan = Plan(
        corpus, tuple(Named.of(text) for text in encoder), tuple(Target.of(text) for text in target), alone,
        tuple(without or ()), regions, _numbers(shots), draws, tuple(heads.split(",")), resamples, seed, chips,
    )  # fmt: skip
    with display(as_json) as progress:
        text = write(few_shot(plan, out, progress), out)
    page = out / PAGE
    done = f"{text}\n\nEverything is in {out}; open {page} in a browser."
    typer.echo(json.dumps({"folder": str(out), "page": str(page), "done": text}) if as_json else done)


def _numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        result = tuple(int(part) for part in text.split(","))
    except ValueError:
        result = ()
    if not result or min(result) < 1:
        raise typer.BadParameter(f"--shots {text} are no numbers of labels; write such as 10,50,200.")
    return result
