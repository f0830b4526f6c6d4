"""The commands that make maps of the chips of a corpus: `predict` and `embed`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import Fatal

if TYPE_CHECKING:
    from flows.mapping import Map
    from pipeline.progress import Progress

Target = Annotated[Path, typer.Argument(help="What to write.")]
Corpus = Annotated[Path | None, typer.Option(help="The corpus folder; the model's own by default.")]
To = Annotated[str | None, typer.Option(help="A format for maps; GeoTIFF by default.")]
Rows = Annotated[str, typer.Option(help="Of these rows, such as 0:100,250.")]
Place = Annotated[list[str] | None, typer.Option(help="Of the chip at lon,lat or with this id; repeatable.")]
Where = Annotated[str, typer.Option(help="Of chips such as \"split == 'val' and biome in [1, 4]\".")]
Options = Annotated[list[str] | None, typer.Option("--set", help="An option of the format, key=value.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a target that exists.")]
Over = Annotated[
    list[str] | None, typer.Option(help="Of an area, not of chips: a raster or a folder, or LAYER=PATH; repeatable.")
]
Overlap = Annotated[float, typer.Option(min=0, max=0.9, help="Of an area: what tiles have in common, of an edge.")]
Level = Annotated[str | None, typer.Option(help="Of an area: the processing level of its values, such as l2a.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines: JSON on standard output, JSON lines of progress.")]


def predict(
    model: Annotated[str, typer.Argument(help="A file of `finetune`: finetuned/LABEL-pixel.safetensors.")],
    target: Target,
    show: Annotated[
        str | None,
        typer.Option(help="class; probability: a band for each class; number. By default what the model learned."),
    ] = None,
    corpus: Corpus = None,
    rows: Rows = "",
    place: Place = None,
    where: Where = "",
    to: To = None,
    options: Options = None,
    overwrite: Overwrite = False,
    over: Over = None,
    overlap: Overlap = 0.5,
    level: Level = None,
    as_json: AsJson = False,
) -> None:
    """Write what a fine-tuned model predicts for chips, or --over an area: classes, their probabilities, or numbers."""
    if over:
        from flows.area import Area, prediction_area

        _refuse_chips("predict", corpus, rows, place, where, to, options)
        shown_area = prediction_area(model, show, level)
        _show(target, lambda told: Area(tuple(over), overlap).write(shown_area, target, overwrite, told), as_json)
        return
    from flows.mapping import Map, prediction_kind

    shown = Map(prediction_kind(show), model, corpus)
    _write(shown, (rows, place, where), (target, to, options, overwrite), as_json)


def embed(
    weights: Annotated[str, typer.Argument(help="A run's folder, a file of weights, an address, or layer:NAME.")],
    target: Target,
    per: Annotated[
        str | None, typer.Option(help="patch: a vector for each, the default of rasters; or chip: one for all of it.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="A sensor, or a channel such as sentinel2.B8, to leave out; repeatable.")
    ] = None,
    view: Annotated[str | None, typer.Option(help="Of rasters: by which sensor, or fused.")] = None,
    corpus: Corpus = None,
    rows: Rows = "",
    place: Place = None,
    where: Where = "",
    to: Annotated[
        str | None, typer.Option(help="embeddings (Zarr), geoparquet, or a format for maps; GeoTIFF by default.")
    ] = None,
    options: Options = None,
    processes: Annotated[int, typer.Option(min=1, help="Of embeddings and geoparquet: so many on this machine.")] = 1,
    overwrite: Overwrite = False,
    over: Over = None,
    overlap: Overlap = 0.5,
    level: Level = None,
    as_json: AsJson = False,
) -> None:
    """Write what an encoder makes of chips: vectors as a store or a table, or rasters with a band for each number."""
    _refuse_processes(processes, to, over)
    if over:
        from flows.area import Area, feature_area

        _refuse_chips("embed", corpus, rows, place, where, to, options, per)
        shown_area = feature_area(weights, view, without or (), level)
        _show(target, lambda told: Area(tuple(over), overlap).write(shown_area, target, overwrite, told), as_json)
        return
    from flows.embedding import EmbeddingFile, is_table
    from flows.embedding_source import Source

    if to is not None and is_table(to):
        from exporters.formats.choice import Choice

        if view is not None:
            raise Fatal(f"--view is for rasters, and {to} has every view; leave it out, or leave sensors --without.")
        source = Source(weights, corpus, per or "chip", tuple(without or ()))
        made = EmbeddingFile(target, to, tuple(options or ()), overwrite, processes)
        _show(target, lambda progress: made.write(source, Choice(rows, place or (), where), progress), as_json)
        return
    from flows.mapping import Map, features_kind

    shown = Map(features_kind(per or "patch", view, without or ()), weights, corpus)
    _write(shown, (rows, place, where), (target, to, options, overwrite), as_json)


def _refuse_processes(processes: int, to: str | None, over: list[str] | None) -> None:
    """Raise `Fatal` for several processes where one writes all."""
    from flows.embedding import TABLES, is_table

    if processes > 1 and (over or not is_table(to)):
        raise Fatal(f"rasters are written by one process; leave --processes out, or write --to {' or '.join(TABLES)}.")


def _refuse_chips(command: str, *of_chips: object) -> None:
    """Raise `Fatal` for options that an area does not have."""
    if any(of_chips):
        raise Fatal(
            f"`{command} --over` makes one GeoTIFF of an area; leave out --corpus, --rows, --place, --where, --to, "
            "--set and --per, which are for chips."
        )


def _write(
    shown: Map, chosen: tuple[str, list[str] | None, str], out: tuple[Path, str | None, list[str] | None, bool],
    as_json: bool,
) -> None:  # fmt: skip
    from exporters.formats.choice import Choice
    from flows.mapping import Destination

    (rows, place, where), (target, to, options, overwrite) = chosen, out
    destination = Destination(target, to, tuple(options or ()), overwrite)
    _show(target, lambda progress: destination.write(shown, Choice(rows, place or (), where), progress), as_json)


def _show(target: Path, write: Callable[[Progress], str], as_json: bool) -> None:
    from flows.progress.display import display

    with display(as_json) as progress:
        line = write(progress)
    typer.echo(json.dumps({"target": str(target), "done": line}) if as_json else line)
