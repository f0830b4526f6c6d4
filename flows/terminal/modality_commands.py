"""`geocorpus modality new` and `modality check`: write a modality file of one's own, and preview it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from flows.settings import Settings, load, shipped
from pipeline.errors import Fatal

modality_app = typer.Typer(no_args_is_help=True, help="Layers of your own: docs/modalities.md.")
Folder = Annotated[Path, typer.Option(help="Where the file is written.")]
File = Annotated[Path, typer.Argument(help="A Python file with a Modality at its top level.")]
From = Annotated[
    str | None, typer.Option("--from", help="A corpus folder or configuration; by default the shipped demo.")
]
Out = Annotated[Path | None, typer.Option(help="The picture; beside the file by default.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Settings as section.key=value.", metavar="[A.B=C]...")]


@modality_app.command()
def new(name: Annotated[str, typer.Argument(help="The layer's name.")], folder: Folder = Path(".")) -> None:
    """Write a commented modality file that works as it is."""
    from exporters.skeleton import write_skeleton

    path = write_skeleton(name, folder)
    typer.echo(f"{path} is there. Change it, then: geocorpus modality check {path}")


@modality_app.command()
def check(
    file: File,
    overrides: Overrides = None,
    source: From = None,
    out: Out = None,
    chips: Annotated[int, typer.Option(min=1, max=64, help="How many chips to pull.")] = 4,
) -> None:
    """Build the graphs of a modality file, pull a few chips, and draw them; writes nothing but the picture."""
    from exporters import catalog

    catalog.of_file(file)
    picture = out or file.with_suffix(".png")
    whose = source or str(shipped()["demo"])
    with tempfile.TemporaryDirectory() as scratch:
        for line in _preview(file, _settings(whose, Path(scratch), chips, overrides or []), picture, chips):
            typer.echo(line)


def _settings(source: str, scratch: Path, chips: int, overrides: list[str]) -> Settings:
    """The settings of a corpus that has a manifest; otherwise those of a small corpus in a temporary folder."""
    from pipeline.corpus_folder import MANIFEST

    if (Path(source) / MANIFEST).exists():
        return load(source, [*overrides, f"corpus.folder={source}"])
    small = [f"sampling.locations={chips}", "anchor.batch=50"]
    return load(source, [*small, *overrides, f"corpus.folder={scratch}"])


def _preview(file: Path, settings: Settings, picture: Path, count: int) -> list[str]:
    """Pull and draw `count` chips of the layer; returns the lines to print."""
    from PIL import Image

    from exporters import catalog
    from exporters.pull import preview
    from flows import stages
    from pipeline.corpus_folder import MANIFEST
    from pipeline.manifest import Manifest
    from pipeline.progress import Silent

    with stages.earth_engine(settings) as engine:
        if not (settings.folder / MANIFEST).exists():
            stages.sample(settings, engine, Silent())
            stages.anchor(settings, engine, Silent())
        manifest = Manifest.read(settings.folder / MANIFEST)
        if not len(manifest):
            raise Fatal("no chip could be anchored to try the layer on; give --from a corpus folder.")
        step = max(1, len(manifest) // count)
        sample = [manifest[row] for row in range(0, len(manifest), step)][:count]
        previews = [
            preview.preview_layer(engine, item, sample) for item in catalog.bound(catalog.of_file(file), manifest)
        ]
    page = preview.contact_sheet(previews)
    lines = [line for item in previews for line in item.said]
    if page is None:
        return [*lines, "There is nothing to draw."]
    Image.fromarray(page).save(picture)
    return [*lines, f"{len(sample)} chips are drawn in {picture}."]
