"""One TOML file per corpus: typed, strict, overridable as `section.key=value`, saved beside what it made."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from exporters.anchor.scene_rules import AnchorRules
from exporters.earth_engine.connection import Connection
from exporters.earth_engine.retry import Patience
from flows import finetune_task
from pipeline import durable
from pipeline.errors import Fatal, unknown_name
from pipeline.sizes import CHIP_PX, SHARD_ROWS
from training.config import PretrainConfig

SANDBOX_PROJECT = "sandbox"
SAVED_AS = "config.toml"


class Section(BaseModel):
    """A table of the file: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CorpusSettings(Section):
    """Where the corpus is and what it holds. No `modalities` means all that are known.

    `store` is where the arrays go, when not into the folder: a path, `s3://bucket/prefix` or `gs://bucket/prefix`.
    """

    folder: Path = Path("corpus")
    store: str | None = Field(None, min_length=1)
    seed: int = Field(0, ge=0)
    size_px: int = Field(CHIP_PX, ge=8, le=2048)
    shard_rows: int = Field(SHARD_ROWS, ge=1)
    modalities: tuple[str, ...] = ()
    modality_files: tuple[Path, ...] = ()


class SourceSettings(Section):
    """Which Earth Engine. `project = "sandbox"` starts the built-in local one; `url` uses one that runs already.

    `eecu_hours` is what the corpus may cost in a calendar month, as estimated from profiles of some requests.
    """

    project: str = SANDBOX_PROJECT
    url: str | None = None
    concurrency: int = Field(Connection.concurrency, ge=1, le=1000)
    requests_per_s: float = Field(Connection.requests_per_s, gt=0)
    deadline_s: float = Field(Connection.deadline_s, gt=0)
    eecu_hours: float | None = Field(None, gt=0)
    attempts: int = Field(Patience.transient_attempts, ge=1)
    patience_s: float = Field(Patience.throttled_s, ge=0)
    sandbox_seed: int = 0
    sandbox_latency_s: float = Field(0.0, ge=0)


class SamplingSettings(Section):
    """How many places and where: a region table of the source or a vector file, a table of points, or both.

    `column` and `weights` are of strategy "column". `points` are taken as they are, or, with `radius_km`, drawn round.
    Footprints keep `exclude_buffer_m` from those in the files of `exclude`.
    """

    locations: int = Field(1000, ge=1)
    strategy: Literal["biomes", "biomes-equal", "ecoregions", "land", "column", "tiles"] = "biomes"
    regions: str = "RESOLVE/ECOREGIONS/2017"
    column: str = ""
    weights: dict[str, float] = Field(default_factory=dict)
    points: Path | None = None
    radius_km: float | None = Field(None, gt=0)
    overdraw: float = Field(1.5, ge=1)
    may_overlap: bool = False
    exclude: tuple[Path, ...] = ()
    exclude_buffer_m: float = Field(0.0, ge=0)


class AnchorSettings(Section):
    """Which scenes are usable; `orbit_window_days` bounds how far a radar scene may be from the anchor."""

    years: tuple[int, ...] = Field(AnchorRules.years, min_length=1)
    max_cloud_percent: float = Field(AnchorRules.max_cloud_percent, gt=0, le=100)
    levels: tuple[Literal["l2a", "l1c"], ...] = Field(AnchorRules.levels, min_length=1, validate_default=True)
    orbit_window_days: int = Field(AnchorRules.orbit_window_days, ge=0)
    batch: int = Field(AnchorRules.batch, ge=1, le=1000)


class SplitSettings(Section):
    """Shares of the splits, given to whole cells of about `cell_deg` degrees, or to `bands` at an angle.

    Footprints of different splits are at least `buffer_m` apart; bands run over `extent` (west, south, east, north), by
    default the whole Earth.
    """

    train: float = Field(0.9, gt=0, le=1)
    val: float = Field(0.05, ge=0, lt=1)
    test: float = Field(0.05, ge=0, lt=1)
    by: Literal["cells", "bands"] = "cells"
    cell_deg: float = Field(1.0, gt=0, le=90)
    buffer_m: float = Field(5000.0, ge=0)
    bands: int = Field(60, ge=1)
    angle_rad: float = 0.9
    extent: tuple[float, float, float, float] = (-180.0, -90.0, 180.0, 90.0)

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError("train, val and test must sum to 1")
        return self


class ClusterSettings(Section):
    """Who pulls: this process ("none"), worker processes here ("local"), those of a running Dask scheduler ("address"),
    or SLURM jobs that are submitted ("slurm").

    `workers` processes of "local" have `threads` each; a thread works on one shard, and a process pulls one of its
    shards at a time, while others are written. Remote workers reach this machine as `host` on `port`, by default its
    own address and a free one. A SLURM job has `cores` and `memory` in all.
    """

    kind: Literal["none", "local", "address", "slurm"] = "none"
    workers: int = Field(2, ge=1)
    threads: int = Field(2, ge=1)
    shards_at_once: int | None = Field(None, ge=1)
    address: str | None = None
    host: str | None = None
    port: int = Field(0, ge=0, le=65535)
    jobs: int = Field(1, ge=1)
    queue: str | None = None
    account: str | None = None
    walltime: str = "24:00:00"
    cores: int = Field(2, ge=1)
    memory: str = "8GiB"
    directives: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        if (self.kind == "address") != (self.address is not None):
            raise ValueError('address and kind = "address" go together')
        return self


class Settings(Section):
    """The whole file. `pretrain` and `finetune` stay as they were given, checked, for what is read from them later."""

    corpus: CorpusSettings = CorpusSettings()
    source: SourceSettings = SourceSettings()
    sampling: SamplingSettings = SamplingSettings()
    anchor: AnchorSettings = AnchorSettings()
    split: SplitSettings = SplitSettings()
    cluster: ClusterSettings = ClusterSettings()
    pretrain: dict[str, Any] = Field(default_factory=dict)
    finetune: dict[str, Any] = Field(default_factory=dict)

    @field_validator("pretrain")
    @classmethod
    def _pretrain_is_legal(cls, section: dict[str, Any]) -> dict[str, Any]:
        PretrainConfig.from_dict(without_run(section))
        return section

    @field_validator("finetune")
    @classmethod
    def _finetune_is_legal(cls, section: dict[str, Any]) -> dict[str, Any]:
        finetune_task.check(section)
        return section

    @property
    def folder(self) -> Path:
        """The corpus folder."""
        return self.corpus.folder

    @property
    def uses_sandbox(self) -> bool:
        """Whether a local Earth Engine is to be started."""
        return self.source.project == SANDBOX_PROJECT and self.source.url is None

    def refuse_changes(self) -> None:
        """Raise `Fatal` when the folder was begun with other settings that decide which chips it holds."""
        saved = self.folder / SAVED_AS
        if not saved.exists():
            return
        before, now = parse(_read(saved)).deciding(), self.deciding()
        changed = sorted(key for key in now if before.get(key) != now[key])
        if changed:
            raise Fatal(
                f"{self.folder} was begun with {changed[0]} = {before.get(changed[0])!r}, not {now[changed[0]]!r}; "
                "put it back, or give another corpus.folder."
            )

    def deciding(self) -> dict[str, Any]:
        """The settings that decide which chips the corpus holds, as "section.key"."""
        data = self.model_dump(mode="json")
        sections = {name: data[name] for name in ("sampling", "anchor", "split")}
        sections["corpus"] = {key: data["corpus"][key] for key in ("seed", "size_px", "shard_rows")}
        local = self.source.project == SANDBOX_PROJECT
        sections["source"] = {"sandbox_seed": self.source.sandbox_seed, "sandbox": local}
        return {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}

    def save(self) -> None:
        """Publish the resolved settings in the corpus folder; the file can be given to any command again."""
        data = self.model_dump(mode="json", exclude_none=True)
        durable.write_text(self.folder / SAVED_AS, tomli_w.dumps(data))


def without_run(pretrain: Mapping[str, Any]) -> dict[str, Any]:
    """The section without the name of the run's folder, which is nothing to the trainer."""
    return {key: value for key, value in pretrain.items() if key != "run"}


def shipped() -> dict[str, Path]:
    """Configurations that come with the project, by name."""
    folder = Path(str(files("flows") / "configs"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load(config: str, overrides: Iterable[str] = ()) -> Settings:
    """Settings from a TOML file, a corpus folder or a shipped configuration's name, with `a.b=c` overrides.

    Raises `Fatal` for a file that is absent or not TOML, and for unknown keys (naming the nearest known one).
    """
    path = _find(config)
    data = _read(path)
    if Path(config).is_dir():
        # The folder may have been moved, or be named from elsewhere, since its settings were saved.
        data.setdefault("corpus", {})["folder"] = config
    for override in overrides:
        _apply(data, override)
    return parse(data)


def _find(config: str) -> Path:
    path = Path(config)
    if path.is_dir():
        path = path / SAVED_AS
    if config in shipped() and not path.is_file():
        return shipped()[config]
    if not path.is_file():
        known = ", ".join(shipped())
        raise Fatal(f"no configuration {config!r}: give a TOML file, a corpus folder, or one of {known}.")
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Fatal(f"{path} cannot be read as TOML: {error}.") from error


def _apply(plain: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or len(parts) < 2:
        raise Fatal(f"{override!r} is no override; write it as section.key=value, such as sampling.locations=100.")
    table = plain
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise Fatal(f"{override!r} reaches into {part!r}, which is a value, not a section.")
    table[parts[-1]] = _value(text.strip())


def _value(text: str) -> Any:
    """A TOML value; bare words are taken as strings, so that paths and names need no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def parse(plain: Mapping[str, Any]) -> Settings:
    """Checked settings from plain values."""
    try:
        return Settings.model_validate(dict(plain))
    except ValidationError as error:
        raise _explain(error) from error


def _explain(error: ValidationError) -> Fatal:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        return unknown_name("setting", ".".join(place), _known_beside(place))
    return Fatal(f"setting {'.'.join(place)} = {first['input']!r} is not allowed: {first['msg'].lower()}.")


def _known_beside(place: list[str]) -> list[str]:
    if len(place) == 1:
        return list(Settings.model_fields)
    section = type(getattr(Settings(), place[0]))
    return [f"{place[0]}.{name}" for name in section.model_fields]
