"""`geocorpus doctor --live`: one chip of every layer, against the pixels that Earth Engine stores; writes a picture."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import typer

from exporters.earth_engine.client import EarthEngine
from flows import growth, live_check, stages
from flows.doctor import doctor
from flows.doctor.finding import Finding, shown
from flows.live_check import LiveCheck
from flows.settings import load
from pipeline.corpus_folder import MANIFEST
from pipeline.errors import Fatal
from pipeline.location import Location, location_id
from pipeline.locations import Locations
from pipeline.manifest import Manifest
from pipeline.progress import Silent
from pipeline.stopping import keeping_nothing

PICTURE = Path("live-check.png")
# Land with relief and fields on every continent (longitude, latitude): where there is no manifest yet.
_PLACES = (
    (8.05, 46.75), (-93.65, 42.05), (-60.1, -2.9), (36.7, -1.2), (149.0, -35.2), (-70.5, -33.4),
    (138.9, 36.2), (25.1, 60.6), (-120.4, 38.1), (77.1, 28.6), (14.4, 50.0), (-3.9, 40.3),
)  # fmt: skip
_STRATUM, _CHIPS = "live", 4


def examine(config: str, overrides: Sequence[str], picture: Path) -> dict[str, Finding]:
    """The findings of the live check. Raises `Fatal` where nothing could be compared."""
    settings = load(config, overrides)
    if settings.uses_files:
        raise Fatal("this corpus is of files, and asks Earth Engine for nothing; there is nothing to compare.")
    with stages.earth_engine(settings) as engine:
        path = settings.folder / MANIFEST
        manifest = Manifest.read(path) if path.exists() else _built_in(config, overrides, engine)
        layers = live_check.remote(stages.layers_of(settings, manifest))
        if not layers:
            raise Fatal("no layer of this corpus comes from Earth Engine; there is nothing to compare.")
        result = live_check.run(engine, live_check.telling(manifest), layers)
    return {**result.findings(), **_drawn(result, picture)}


@keeping_nothing()
def show(config: str, overrides: Sequence[str], as_json: bool) -> None:
    """Print the findings; ends with code 1 where a layer differs."""
    findings = examine(config, overrides, PICTURE)
    typer.echo(doctor.as_json(findings) if as_json else doctor.as_text(findings))
    raise typer.Exit(0 if doctor.healthy(findings) else 1)


def _built_in(config: str, overrides: Sequence[str], engine: EarthEngine) -> Manifest:
    """A manifest of a few well-known places, pinned as the settings say; nothing of it is kept."""
    places = [Location(location_id(lon, lat), lon, lat, _STRATUM) for lon, lat in _PLACES]
    with tempfile.TemporaryDirectory() as scratch:
        settings, step = load(config, [*overrides, f"corpus.folder={scratch}"]), growth.last_step(Path(scratch))
        answers = Path(scratch) / stages.ANCHORS
        anchored = stages.pinned(settings, engine, Locations.of(places), {_STRATUM: _CHIPS}, answers, Silent())
        if not anchored.rows.count:
            raise Fatal("none of the built-in places has a scene; name a corpus folder that has a manifest.")
        step.freeze(anchored.rows, settings.corpus.seed)
        return Manifest.read(Path(scratch) / MANIFEST)


def _drawn(result: LiveCheck, picture: Path) -> dict[str, Finding]:
    from PIL import Image

    from exporters.live.picture import page

    drawn = page(result.layers)
    if drawn is None:
        return {}
    where = shown(picture.absolute())
    try:
        Image.fromarray(drawn).save(picture)
    except OSError as error:  # the numbers have cost requests, and say the same
        return {"picture": Finding("note", f"{where} cannot be written ({error.strerror or error}).")}
    said = f"pulled, from stored pixels, and their difference, in {where}"
    return {"picture": Finding("ok", said, {"path": str(picture)})}
