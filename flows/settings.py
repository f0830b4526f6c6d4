"""One TOML file per corpus: typed and strict, overridden by `section.key=value`, and saved in the corpus folder."""

from __future__ import annotations

import copy
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from exporters.anchor.scene_rules import AnchorRules
from exporters.earth_engine.connection import Connection
from exporters.earth_engine.retry import Patience
from exporters.files.description import FilesSettings, LayerSettings
from flows import finetune_task
from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.errors import Fatal, unknown_name
from pipeline.sizes import CHIP_PX, SHARD_ROWS
from pipeline.validation import in_a_sentence, wanted
from training.config import RENAMED, PretrainConfig

SANDBOX_PROJECT = "sandbox"
SAVED_AS = "config.toml"
FOR_THE_RUN = "cluster"  # a section whose overrides say how to work this time, and nothing about the corpus
_KEPT = "kept_cluster"  # beside the sections, where settings travel to a flow run
_FILE_PATHS = {"folder", "table", "items"}  # of [files]: where they are now, which decides nothing about the chips
_FORMER_DEADLINE_S = 300.0  # the default that older releases saved with every corpus
_LONGEST_SHOWN = 200  # characters of a value that is refused
CHECKED_ELSEWHERE = ("pretrain", "finetune")  # by the classes that use them; they decide nothing about the chips
_OTHER_NAME = RENAMED | {new: old for old, new in RENAMED.items()}


class Section(BaseModel):
    """A table of the file: unknown keys are errors, and so is nan; values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_empty_path(cls, value: Any, info: ValidationInfo) -> Any:
        # An empty path is the working folder to the operating system, and a variable without a value to its user.
        kind = cls.model_fields[str(info.field_name)].annotation
        if Path in (kind, *get_args(kind)) and "" in (value if isinstance(value, list | tuple) else (value,)):
            raise ValueError("it is empty; give a path, or . for the working folder")
        return value

    @field_validator("*")
    @classmethod
    def _is_comparable(cls, value: Any, info: ValidationInfo) -> Any:
        # It differs from itself, so a corpus that was begun with one could never be gone on with.
        if _holds_nan(value) and info.field_name not in CHECKED_ELSEWHERE:
            raise ValueError("it must be a number, not nan")
        return value


def _with_possible_port(url: str | None) -> str | None:
    """The address; raises ValueError for a port that cannot be one, which else shows up as some failed connection."""
    if url is not None:
        _ = urlsplit(url if "://" in url else f"tcp://{url}").port
    return url


Address = Annotated[str | None, AfterValidator(_with_possible_port)]


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
    """Where pixels come from: the Earth Engine to use, or `kind = "files"`, which [files] and [layers] describe.

    `project = "sandbox"` starts the built-in local one; `url` uses one that is running.

    `eecu_hours` is the most that the corpus may cost in a calendar month, as estimated from profiles of some requests.
    `layers` says which layers are read from files instead: "files:" and a pattern, a URL, or a TOML file.
    `deadline_s` = 300, which older releases saved, is read as the present default.
    """

    kind: Literal["earth_engine", "files"] = "earth_engine"
    project: str = SANDBOX_PROJECT
    url: Address = None
    concurrency: int = Field(Connection.concurrency, ge=1, le=1000)
    requests_per_s: float = Field(Connection.requests_per_s, gt=0)
    deadline_s: float = Field(Connection.deadline_s, gt=0)
    eecu_hours: float | None = Field(None, gt=0)
    attempts: int = Field(Patience.transient_attempts, ge=1)
    patience_s: float = Field(Patience.throttled_s, ge=0)
    sandbox_seed: int = 0
    sandbox_latency_s: float = Field(0.0, ge=0)
    layers: dict[str, str] = Field(default_factory=dict)

    @field_validator("deadline_s")
    @classmethod
    def _outlasts_the_service(cls, value: float) -> float:
        # Nobody chose the former default, and it ends with the service's own five minutes, before its answer says why.
        return Connection.deadline_s if value == _FORMER_DEADLINE_S else value


class SamplingSettings(Section):
    """How many locations and where: in a region table of the source or a vector file, at points of a table, or both.

    `column` and `weights` belong to strategy "column". `points` are the locations themselves; with `radius_km`,
    locations are drawn within that distance of them. Footprints stay `exclude_buffer_m` away from those in the files
    of `exclude`. `overlap` says whether footprints may overlap; older files say it with `may_overlap`.
    """

    locations: int = Field(1000, ge=1)
    strategy: Literal["biomes", "biomes-equal", "ecoregions", "land", "column", "tiles"] = "biomes"
    regions: str = "RESOLVE/ECOREGIONS/2017"
    column: str = ""
    weights: dict[str, float] = Field(default_factory=dict)
    points: Path | None = None
    radius_km: float | None = Field(None, gt=0)
    overdraw: float = Field(1.5, ge=1)
    overlap: Literal["refuse", "allow"] = "refuse"
    exclude: tuple[Path, ...] = ()
    exclude_buffer_m: float = Field(0.0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _by_its_older_name(cls, section: Any) -> Any:
        if not isinstance(section, dict) or not isinstance(section.get("may_overlap"), bool):
            return section
        older = "allow" if section["may_overlap"] else "refuse"
        if section.get("overlap", older) != older:
            raise ValueError("overlap and may_overlap, its older name, say different things; leave the latter out")
        return {key: value for key, value in section.items() if key != "may_overlap"} | {"overlap": older}


class AnchorSettings(Section):
    """Which scenes are usable; `orbit_window_days` bounds how far a radar scene may be from the anchor.

    `date_window_days` bounds how far the anchor may be from a place's own date. Of such a place `years` decide nothing.
    `max_cloud_percent` is of the whole scene, `max_chip_cloud_percent` of the chip in it, which is asked for only then.
    """

    years: tuple[int, ...] = Field(AnchorRules.years, min_length=1)
    max_cloud_percent: float = Field(AnchorRules.max_cloud_percent, gt=0, le=100)
    levels: tuple[Literal["l2a", "l1c"], ...] = Field(AnchorRules.levels, min_length=1, validate_default=True)
    orbit_window_days: int = Field(AnchorRules.orbit_window_days, ge=0)
    date_window_days: int = Field(AnchorRules.date_window_days, ge=0)
    max_chip_cloud_percent: float | None = Field(None, ge=0, le=100)
    batch: int = Field(AnchorRules.batch, ge=1, le=1000)


class AreaSettings(Section):
    """An area with bands of its own, at its own angle, over its `extent` (west, south, east, north)."""

    extent: tuple[float, float, float, float]
    angle_rad: float = Field(0.9, allow_inf_nan=False)


class SplitSettings(Section):
    """Fractions of the splits, assigned to whole cells of about `cell_deg` degrees, or to `bands` at an angle.

    Footprints of different splits are at least `buffer_m` apart; bands run over `extent` (west, south, east, north), by
    default the whole Earth. With `areas`, so many run over each of them; `extent` and `angle_rad` then say nothing.
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
    areas: tuple[AreaSettings, ...] = ()

    @model_validator(mode="after")
    def _has_bands_for_areas(self) -> Self:
        if self.areas and self.by != "bands":
            raise ValueError('areas have bands; set by = "bands" as well')
        return self

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
    address: Address = None
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
    files: FilesSettings = FilesSettings()
    layers: dict[str, LayerSettings] = Field(default_factory=dict, validate_default=True)
    sampling: SamplingSettings = SamplingSettings()
    anchor: AnchorSettings = AnchorSettings()
    split: SplitSettings = SplitSettings()
    cluster: ClusterSettings = ClusterSettings()
    pretrain: dict[str, Any] = Field(default_factory=dict)
    finetune: dict[str, Any] = Field(default_factory=dict)
    # What the file says of the cluster, where an override says something else for this run.
    _kept_cluster: ClusterSettings | None = PrivateAttr(None)

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

    @field_validator("layers")
    @classmethod
    def _are_of_files(cls, layers: dict[str, LayerSettings], info: ValidationInfo) -> dict[str, LayerSettings]:
        of_files = "source" in info.data and info.data["source"].kind == "files"
        sampled = of_files and not layers and info.data["source"].layers
        if of_files and not sampled and all(layer.column for layer in layers.values()):
            raise ValueError('source.kind = "files" needs a [layers.NAME] with files or assets, or source.layers')
        if layers and not of_files:
            raise ValueError('layers describe files, with source.kind = "files"')
        return layers

    @property
    def uses_files(self) -> bool:
        """Whether the corpus comes from files, and no Earth Engine is asked."""
        return self.source.kind == "files"

    @property
    def samples_places(self) -> bool:
        """Whether places are sampled, and not where the files of [layers] are."""
        return not (self.uses_files and self.layers)

    @property
    def uses_sandbox(self) -> bool:
        """Whether a local Earth Engine is to be started."""
        return not self.uses_files and self.source.project == SANDBOX_PROJECT and self.source.url is None

    def deciding(self) -> dict[str, Any]:
        """The settings that decide which chips the corpus holds, as "section.key"."""
        data = self.model_dump(mode="json")
        sections = {name: data[name] for name in ("sampling", "anchor", "split")}
        sections["corpus"] = {key: data["corpus"][key] for key in ("seed", "size_px", "shard_rows")}
        local = self.source.project == SANDBOX_PROJECT
        sections["source"] = {"sandbox_seed": self.source.sandbox_seed, "sandbox": local}
        if self.uses_files:
            sections |= {
                "source": {"kind": "files"},
                "files": _without(data["files"], _FILE_PATHS),
                "layers": data["layers"],
            }
        return {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}

    def save(self, path: Path | None = None) -> None:
        """Write the resolved settings, by default to the corpus folder, as a file that every command accepts.

        Overrides of the cluster are not among them: they hold for one run. Raises `Fatal` when the folder cannot be
        written to.
        """
        data = self.model_dump(mode="json", exclude_none=True)
        if self._kept_cluster is not None:
            data[FOR_THE_RUN] = self._kept_cluster.model_dump(mode="json", exclude_none=True)
        durable.write_text(path or self.folder / SAVED_AS, tomli_w.dumps(data))

    def parameters(self) -> dict[str, Any]:
        """All of it as JSON values, for a flow run; `of_parameters` gives it back."""
        kept = {} if self._kept_cluster is None else {_KEPT: self._kept_cluster.model_dump(mode="json")}
        return self.model_dump(mode="json") | kept

    def keeping(self, section: Mapping[str, Any]) -> Settings:
        """The same settings, of which `save` writes this section in place of the run's cluster."""
        kept = self.model_copy()
        try:
            kept._kept_cluster = ClusterSettings.model_validate(dict(section))
        except ValidationError:  # of the file, and the run's overrides mended it
            kept._kept_cluster = ClusterSettings()
        return kept


def of_parameters(parameters: Mapping[str, Any]) -> Settings:
    """Settings from what `Settings.parameters` made, also in an earlier version; raises `Fatal` as `parse` does."""
    data = dict(parameters)
    kept = data.pop(_KEPT, None)
    settings = parse(data)
    return settings if kept is None else settings.keeping(kept)


def _without(section: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in keys}


def without_run(pretrain: Mapping[str, Any]) -> dict[str, Any]:
    """The section without the name of the run's folder, which the trainer does not use."""
    return {key: value for key, value in pretrain.items() if key != "run"}


def saved(path: Path) -> Settings | None:
    """The settings in a file, but for those that are checked elsewhere; None without the file. Raises as `parse`."""
    if not path.exists():
        return None
    return parse({name: section for name, section in _read(path).items() if name not in CHECKED_ELSEWHERE})


def shipped() -> dict[str, Path]:
    """Configurations that come with the project, by name."""
    folder = Path(str(files("flows") / "configs"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load(config: str, overrides: Iterable[str] = ()) -> Settings:
    """Settings from a TOML file, a corpus folder or a shipped configuration's name, with `a.b=c` overrides.

    Raises `Fatal` for a file that is absent or not TOML, for an unknown key (naming the nearest known one), and for a
    value that is not allowed.
    """
    path, data = _found(config)
    if path == Path(config) / SAVED_AS:
        # The folder may have been moved since its settings were saved, or the command is typed in another folder.
        corpus = data.setdefault("corpus", {})
        if isinstance(corpus, dict):  # anything else is refused below
            corpus["folder"] = config
    before = copy.deepcopy(data)
    for override in overrides:
        _apply(data, override)
    try:
        settings = parse(data)
    except Fatal as error:
        if not _is_refused(before):
            raise
        raise Fatal(f"in {path}: {error}") from error
    given = before.get(FOR_THE_RUN, {})
    return settings if data.get(FOR_THE_RUN, {}) == given else settings.keeping(given)


def _found(config: str) -> tuple[Path, dict[str, Any]]:
    """The file of settings and what is in it; of a corpus without one, which was published, what its arrays say."""
    folder = Path(config)
    if config not in shipped() and (folder / MANIFEST).is_file() and not (folder / SAVED_AS).exists():
        corpus = Corpus.open(folder)
        said = {"size_px": corpus.manifest.size_px, "shard_rows": corpus.shard_rows, "modalities": [*corpus.modalities]}
        return folder / SAVED_AS, {"corpus": said}
    path = _find(config)
    data = _read(path)
    _place_files(data, path.parent)
    return path, data


def _place_files(data: dict[str, Any], folder: Path) -> None:
    """Make paths of files absolute: they are relative to the TOML file, which often lies beside them."""
    source = data.get("source")
    if not (isinstance(source, dict) and source.get("kind") == "files"):
        return
    files = data.setdefault("files", {})
    if not isinstance(files, dict):
        return  # it is refused when it is parsed
    files.setdefault("folder", ".")
    for key in _FILE_PATHS & files.keys():
        if isinstance(files[key], str) and files[key]:
            files[key] = str((folder / files[key]).absolute())


def with_overrides(data: Mapping[str, Any], overrides: Iterable[str]) -> Settings:
    """Settings from TOML or JSON values and `a.b=c`; raises `Fatal` as `load` does."""
    changed = copy.deepcopy(dict(data))
    for override in overrides:
        _apply(changed, override)
    return parse(changed)


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
    if config in shipped() and not (path.is_file() and _is_begun(config)):
        if path.is_file():
            raise Fatal(
                f"{config} is a shipped configuration, and {Path(config).absolute()} is here as well; write ./{config} "
                f"for what is here, or {shipped()[config]} for the shipped one."
            )
        return shipped()[config]
    if not config or not path.is_file():
        known = ", ".join(shipped())
        raise Fatal(f"no configuration {config!r}: give a TOML file, a corpus folder, or one of {known}.")
    return path


def _is_begun(name: str) -> bool:
    """Whether the folder of this name is the one in which the shipped configuration `name` has its corpus."""
    return Path(name).is_dir() and _read(shipped()[name]).get("corpus", {}).get("folder") == name


def as_typed(folder: Path) -> str:
    """How to type a corpus folder, so that it is not taken for a shipped configuration of the same name."""
    return f"./{folder}" if str(folder) in shipped() and not _is_begun(str(folder)) else str(folder)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors begin a file with a byte order mark
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
    every = error.errors()  # a name that is misspelled tells more than what is missing for it
    first = next((item for item in every if item["type"] == "extra_forbidden"), every[0])
    path = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        return unknown_name("setting", ".".join(path), _known_keys(path))
    if first["type"] == "missing":
        return _lacking(every, path)
    must = wanted(first)
    why = f"it {must}" if must else in_a_sentence(first)
    return Fatal(f"setting {'.'.join(path)} = {_shortened(first['input'])} is not allowed: {why}.")


def _lacking(errors: Sequence[ErrorDetails], path: list[str]) -> Fatal:
    """The error about a key that is not there, or a list that is too short, of which each lacking place is told."""
    first, above = errors[0], errors[0]["loc"][:-1]
    if not isinstance(first["loc"][-1], int):
        return Fatal(f"setting {'.'.join(path)} is not set; give it as well.")
    count = 1 + max(int(item["loc"][-1]) for item in errors if item["type"] == "missing" and item["loc"][:-1] == above)
    what = f"{'.'.join(path[:-1])} = {_shortened(first['input'])}"
    return Fatal(f"setting {what} is not allowed: it must be a list of {count} values.")


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _known_keys(path: list[str]) -> list[str]:
    """The known keys of the section that `path` is in."""
    section: type[BaseModel] = Settings
    for part in path[:-1]:  # of which some are names of layers and places in a list
        if part in section.model_fields:
            section = _section_in(section.model_fields[part].annotation) or section
    return [".".join([*path[:-1], name]) for name in section.model_fields]


def _section_in(kind: Any) -> type[BaseModel] | None:
    """The section that a type is, or is a list or a table of."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return next((found for part in get_args(kind) if (found := _section_in(part))), None)
