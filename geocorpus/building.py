"""A corpus from Python: the stages of the command line, with settings as arguments and results to go on with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from geocorpus.corpus import Corpus
from pipeline.corpus_folder import LOCATIONS, MANIFEST
from pipeline.errors import Fatal
from pipeline.manifest import Manifest
from pipeline.progress import Progress
from pipeline.stopping import at_stop

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

# What the stages import sets variables of the environment, which naming a function here must not.


def sample(config: str | Path, progress: Progress | None = None, **sections: Mapping[str, Any]) -> GeoDataFrame:
    """Draw the candidates of a corpus, one point each in degrees, with what is known of them; see `build`."""
    import geopandas

    from flows.growth import last_step

    folder = _run("sample", config, progress, sections)
    return geopandas.read_parquet(last_step(folder).folder / LOCATIONS)


def anchor(config: str | Path, progress: Progress | None = None, **sections: Mapping[str, Any]) -> Manifest:
    """Pin the candidates to scenes and grids, and freeze the table of chips; see `build`."""
    return Manifest.read(_run("anchor", config, progress, sections) / MANIFEST)


def export(config: str | Path, progress: Progress | None = None, **sections: Mapping[str, Any]) -> Corpus:
    """Pull the pixels that are missing, also those of layers that are asked for now; see `build`."""
    return Corpus.open(_run("export", config, progress, sections))


def finalize(config: str | Path, progress: Progress | None = None, **sections: Mapping[str, Any]) -> Corpus:
    """Compute the statistics and write `report.html`; raises `Fatal` for unfinished shards; see `build`."""
    return Corpus.open(_run("finalize", config, progress, sections))


def build(config: str | Path, progress: Progress | None = None, **sections: Mapping[str, Any]) -> Corpus:
    """Sample, anchor, export and finalize, going on where an earlier call was stopped; what is there stays.

    `config` is a TOML file, the folder of a corpus or a shipped configuration ("demo"). Each of `sections` changes a
    section of it, such as `sampling={"locations": 100}`. Without `progress` it is shown in a notebook and on a
    terminal. Raises `Fatal` for a setting that is unknown or not allowed, and `Fatal` or `Transient` as the stages do.
    """
    return Corpus.open(_run("build", config, progress, sections))


def _run(stage: str, config: str | Path, progress: Progress | None, sections: Mapping[str, Any]) -> Path:
    """Do a stage as the command of its name does, and return the corpus folder."""
    from flows import commands, offline, stages
    from flows.progress.progress_file import ProgressFile
    from flows.settings import load
    from geocorpus.shown import shown

    settings = load(str(config), list(_overrides(sections)))
    stages.check(settings, stage)
    if settings.uses_sandbox:
        offline.bypass_proxy()
    with shown(progress) as display, ProgressFile(display, settings.folder) as told, at_stop(told.forget):
        commands.STAGES[stage](settings, told)
    return settings.folder


def _overrides(sections: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Settings as the command line has them, "section.key=value", with values of TOML."""
    for name, value in sections.items():
        if isinstance(value, Mapping):
            yield from _overrides(value, f"{before}{name}.")
        elif not before:
            raise Fatal(f"{name}={value!r} is no section of settings; write for example sampling={{'locations': 100}}.")
        else:
            yield f"{before}{name}={_toml(f'{before}{name}', value)}"


def _toml(name: str, value: Any) -> str:
    try:
        text = tomli_w.dumps({"value": [_plain(value)]})  # in a list: tables in one would get lines of their own
    except TypeError as error:
        raise Fatal(f"setting {name} = {value!r} is not allowed: it is no value of TOML.") from error
    return text.removeprefix("value = [").strip().removesuffix("]").rstrip().removesuffix(",")


def _plain(value: Any) -> Any:
    """With paths as texts, also in lists and tables."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
