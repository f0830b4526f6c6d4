"""One TOML file per corpus: typed and strict, overridden by `section.key=value`, and saved in the corpus folder."""

from __future__ import annotations

import copy
import math
import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from exporters.anchor.scene_rules import AnchorRules
from exporters.earth_engine.connection import Connection
from exporters.earth_engine.retry import Patience
from flows import finetune_task
from pipeline import durable
from pipeline.errors import Fatal, unknown_name
from pipeline.sizes import CHIP_PX, SHARD_ROWS
from training.config import RENAMED, PretrainConfig

SANDBOX_PROJECT = "sandbox"
SAVED_AS = "config.toml"
CHECKED_ELSEWHERE = ("pretrain", "finetune")  # by the classes that use them; they decide nothing about the chips
_OTHER_NAME = RENAMED | {new: old for old, new in RENAMED.items()}


class Section(BaseModel):
    """A table of the file: unknown keys are errors, and so is nan; values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _is_comparable(cls, value: Any, info: ValidationInfo) -> Any:
        # It differs from itself, so a corpus that was begun with one could never be gone on with.
        if _holds_nan(value) and info.field_name not in CHECKED_ELSEWHERE:
            raise ValueError("it must be a number, not nan")
        return value


def _holds_nan(value: Any) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return any(map(_holds_nan, parts)) or (isinstance(value, float) and math.isnan(value))


class CorpusSettings(Section):
    """Where the corpus is and what it holds. Without `modalities` it holds all that are known.

    `store` is where the arrays go if not into the folder: a path, `s3://bucket/prefix` or `gs://bucket/prefix`.
    """

    folder: Path = Path("corpus")
    store: str | None = Field(None, min_length=1)
    seed: int = Field(0, ge=0)
    size_px: int = Field(CHIP_PX, ge=8, le=2048)
    shard_rows: int = Field(SHARD_ROWS, ge=1)
    modalities: tuple[str, ...] = ()
    modality_files: tuple[Path, ...] = ()


class SourceSettings(Section):
    """The Earth Engine to use. `project = "sandbox"` starts the built-in local one; `url` uses one that is running.

    `eecu_hours` is the most that the corpus may cost in a calendar month, as estimated from profiles of some requests.
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
    """How many locations and where: in a region table of the source or a vector file, at points of a table, or both.

    `column` and `weights` belong to strategy "column". `points` are the locations themselves; with `radius_km`,
    locations are drawn within that distance of them. Footprints stay `exclude_buffer_m` away from those in the files
    of `exclude`.
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
    """Fractions of the splits, assigned to whole cells of about `cell_deg` degrees, or to `bands` at an angle.

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
    angle_rad: float = Field(0.9, allow_inf_nan=False)
    extent: tuple[float, float, float, float] = (-180.0, -90.0, 180.0, 90.0)

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError("train, val and test must sum to 1")
        return self


class ClusterSettings(Section):
    """Which processes pull: this one ("none"), workers on this machine ("local"), those of a running Dask scheduler
    ("address"), or SLURM jobs that are submitted ("slurm").

    "local" starts `workers` processes with `threads` threads each. A thread works on one shard. A process pulls one of
    its shards at a time while it writes the others. Remote workers reach this machine as `host` on `port`, by default
    its own address and a free port. `cores` and `memory` are those of a whole SLURM job.
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
    """The whole file. `pretrain` and `finetune` are checked but stay dictionaries, which their stages parse later."""

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
        """Raise `Fatal` when the folder was begun with other values of the settings in `deciding`."""
        saved = self.folder / SAVED_AS
        if not saved.exists():
            return
        kept = {name: section for name, section in _read(saved).items() if name not in CHECKED_ELSEWHERE}
        before, now = parse(kept).deciding(), self.deciding()
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
        """Write the resolved settings to the corpus folder, as a file that every command accepts.

        Raises `Fatal` when the folder cannot be written to.
        """
        data = self.model_dump(mode="json", exclude_none=True)
        durable.write_text(self.folder / SAVED_AS, tomli_w.dumps(data))


def without_run(pretrain: Mapping[str, Any]) -> dict[str, Any]:
    """The section without the name of the run's folder, which the trainer does not use."""
    return {key: value for key, value in pretrain.items() if key != "run"}


def shipped() -> dict[str, Path]:
    """Configurations that come with the project, by name."""
    folder = Path(str(files("flows") / "configs"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load(config: str, overrides: Iterable[str] = ()) -> Settings:
    """Settings from a TOML file, a corpus folder or a shipped configuration's name, with `a.b=c` overrides.

    Raises `Fatal` for a file that is absent or not TOML, for an unknown key (naming the nearest known one), and for a
    value that is not allowed.
    """
    path = _find(config)
    data = _read(path)
    if Path(config).is_dir():
        # The folder may have been moved since its settings were saved, or the command is typed in another folder.
        data.setdefault("corpus", {})["folder"] = config
    before = copy.deepcopy(data)
    for override in overrides:
        _apply(data, override)
    try:
        return parse(data)
    except Fatal as error:
        if not _is_refused(before):
            raise
        raise Fatal(f"in {path}: {error}") from error


def _is_refused(data: Mapping[str, Any]) -> bool:
    try:
        parse(data)
    except Fatal:
        return True
    return False


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


def _apply(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or len(parts) < 2:
        raise Fatal(f"{override!r} is no override; write it as section.key=value, such as sampling.locations=100.")
    table = data
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise Fatal(f"{override!r} reaches into {part!r}, which is a value, not a section.")
    table[parts[-1]] = _value(text.strip())
    if parts[:-1] == ["pretrain"]:  # the file may hold it under its other name
        table.pop(_OTHER_NAME.get(parts[-1], ""), None)


def _value(text: str) -> Any:
    """A TOML value; any other text is taken as a string, so that paths and names need no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def parse(data: Mapping[str, Any]) -> Settings:
    """Settings from TOML or JSON values; raises `Fatal` for an unknown key or a value that is not allowed."""
    try:
        return Settings.model_validate(dict(data))
    except ValidationError as error:
        raise _explain(error) from error


def _explain(error: ValidationError) -> Fatal:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        return unknown_name("setting", ".".join(path), _known_keys(path))
    why = first["msg"].lower().removeprefix("value error, ")
    return Fatal(f"setting {'.'.join(path)} = {first['input']!r} is not allowed: {why}.")


def _known_keys(path: list[str]) -> list[str]:
    """The known keys of the section that `path` is in."""
    if len(path) == 1:
        return list(Settings.model_fields)
    section = type(getattr(Settings(), path[0]))
    return [f"{path[0]}.{name}" for name in section.model_fields]
