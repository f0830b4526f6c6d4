"""The configuration of a pretraining run: inputs, targets, sizes, optimisation; checked when it is read from TOML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic.functional_validators import ModelWrapValidatorHandler

from pipeline.errors import Fatal, unknown_name
from pipeline.validation import STRICT, Betas, Count, CountOrNone, Fraction, Names, Seed, Whole, one_sentence
from training.architecture import SIZES, Architecture, GrnScope, InitStd, Stem

Weighting = Literal["uncertainty", "sum"]
Decoder = Literal["shared", "per-task"]

# What a stored configuration that lacks a setting meant, where that is not the present default.
BEFORE: Mapping[str, Any] = {"order": "blocks"}
_OF_THE_ORDER = ("order", "read_rows", "mix_blocks")

# Old names of settings, which stay accepted, and their new names. Stored configurations use the old names.
RENAMED = {"response": "grn_scope", "spread": "init_std"}
_STORED_AS = {name: stored for stored, name in RENAMED.items()}


def _known_size(name: str) -> str:
    if name not in SIZES:
        raise unknown_name("pretrain.encoder", name, SIZES)
    return name


def _file_or_list(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if not isinstance(value, list | tuple) or any(isinstance(item, bool | float) for item in value):
        raise Fatal(f"pretrain.leave_out and pretrain.only are a file, or a list of rows and ids, not {value!r}.")
    return tuple(value)


def _auto_or_steps(value: Any) -> Any:
    steps = int(value) if isinstance(value, float) and value.is_integer() else value
    if steps != "auto" and (type(steps) is not int or steps < 0):
        raise Fatal(f'pretrain.val_every must be a number of steps, 0 for never, or "auto", not {value!r}.')
    return steps


def _whether_or_bands(value: Any) -> Any:
    if not isinstance(value, bool) and value != "bands":
        raise Fatal(f'pretrain.presence must be true, false or "bands", not {value!r}.')
    return value


Presence = Annotated[bool | Literal["bands"], BeforeValidator(_whether_or_bands)]  # as `Layer.presence`
ValEvery = Annotated[str | int, BeforeValidator(_auto_or_steps)]
LeftOut = Annotated[str | tuple[int | str, ...], BeforeValidator(_file_or_list)]

# Settings that change how a run is computed but, apart from rounding, not its result: a resumed run may change them. Of
# a net that draws random numbers, some change these, see `pretrain.random_draws`.
WITHOUT_EFFECT = (
    "checkpoint_every", "checkpoints_kept", "keep_every", "read_ahead", "workers", "threads", "device", "micro_batch",
    "compile", "processes", "log_every", "peak_tflops", "wandb", "skip_hidden", "pictures_every", "method_file",
    "bad_steps", "read_ahead_gb", "cache_folder", "cache_gb", "val_every", "val_chips", "monitor", "monitor_chips",
    "also",
)  # fmt: skip

# Settings that are stored only where they are set, as what is stored may be older than they are.
_STORED_WHERE_SET = (
    "method", "method_file", "options", "init", "bad_steps", "clip_grad", "leave_out", "only",
    "hide_outside",
    "read_ahead_gb", "cache_folder", "cache_gb",
    "presence",
    "ema",
    "augment",
    "val_every", "val_chips", "monitor", "monitor_chips",
    "also",
)  # fmt: skip


@dataclass(frozen=True, config=STRICT)
class PretrainConfig:
    """One run. The defaults are MP-MAE's: 112 px, patch 16, atto, an effective batch of 4096.

    `method` names a file in training/methods; `method_file` is the path of one's own, and `method` then its stem. What
    `options` mean, and those of the settings below that shape a net, is the method's, and so is
    what empty `targets` stand for; masks, crops and batches, the schedule and the optimiser are the same for all.

    `init` is what the run begins with, in place of random weights: a run's folder, a checkpoint, a file of weights, a
    published checkpoint or an https address ("": none); what fits is taken, and it is said what does not.

    `also` are the folders of further corpora, which are trained on together with the first one, see `joined_corpus`.

    `inputs`, `targets` and `bands` may select by what a layer is, see `selection`; `targets` empty means every modality
    of the corpus. `bands` names the bands to use of a modality; without an entry, the bands with data in every group of
    its statistics are used. `init_std` is the standard deviation of the initial kernels (`encoder.initialise`);
    "fan-in" suits narrow encoders and short runs. `steps` 0 means `epochs` passes over the train rows. `warmup` is a
    fraction of the steps. Runs of up to `read_rows` neighbouring rows are read together. In the `order` "dealt" they
    are drawn anew in each epoch, and a batch has at most `companions` rows of one run; "blocks" is the order of earlier
    releases, with the same runs in every epoch, shuffled together `mix_blocks` at a time. `workers` threads (0: one per
    core) decode `read_ahead` batches ahead; up to `read_ahead_gb` of compressed chips are fetched before. What comes
    from a bucket is kept in `cache_folder` ("": nowhere), up to `cache_gb`. `threads` 0 leaves torch's default; with
    the same number of threads, results are bit-identical.

    `batch_size` is the effective batch, over all processes and micro-batches; a process computes `micro_batch` chips at
    a time (0: its whole part of the batch). `precision` "auto" means bf16 on a GPU and float32 on a CPU, `compile`
    "auto" means off. `skip_hidden` does not compute the encoder on hidden patches; the losses are the same. `presence`
    tells the encoder which inputs a chip lacks as a whole, by a plane for each, beside showing it their mean; "bands"
    which of their bands, by a plane for each of these. With `ema` above 0, an exponential moving average of the weights
    with that decay is kept, and is what a run ends with. `augment` draws for each chip and epoch one of four "flips",
    or of these and their quarter turns ("dihedral"), for all its layers alike. `leave_out` names chips that are not
    trained on, by row or id, or a file with one of them per line; `only` those train chips that are. With
    `hide_outside`, values outside of the valid range of their layer are nodata. `unfinished` allows training on the
    finished shards only; the run keeps the shards with which it started. Losses are copied from the device every
    `log_every` steps. The newest `checkpoints_kept` checkpoints are kept, and those of every `keep_every`-th step
    (0: none). Every `pictures_every` steps, and at the end, a picture of reconstructions is drawn (0: none).
    Gradients are scaled down to a norm of `clip_grad` (0: never). The update of a step whose loss or gradients are
    not finite is skipped; after `bad_steps` of them in a row the run stops.
    `processes` is the number of processes to start on this machine. Every `val_every` steps, at the start and at
    the end, the losses of at most `val_chips` val chips are computed ("auto": after an epoch, or as many as keep this
    below 2 % of the run; 0: never), and with `monitor`, a layer or a column of the owner's, how well frozen features of
    at most `monitor_chips` train chips predict it for these val chips. `peak_tflops` is the peak of the device, for the
    utilisation in the log (0: measured at the start). `wandb` names a project of Weights & Biases to log to ("": none).
    Raises `Fatal` for a value of a wrong type or outside its range.
    """

    method: str = "mpmae"
    method_file: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    init: str = ""
    also: Names = ()
    inputs: Names = ("@colour",)
    targets: Names = ()
    bands: Mapping[str, Names] = field(default_factory=dict)
    encoder: Annotated[str, AfterValidator(_known_size)] = "atto"
    stem: Stem = Architecture.stem
    grn_scope: GrnScope = Architecture.grn_scope
    init_std: InitStd = "fixed"
    image_px: Count = 112
    patch_px: Annotated[Whole, Field(multiple_of=8, ge=8)] = 16
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.6
    decoder: Decoder = "shared"
    decoder_width: Count = 512
    decoder_depth: Count = 1
    weighting: Weighting = "uncertainty"
    batch_size: Count = 4096
    epochs: Count = 200
    steps: CountOrNone = 0
    blr: Annotated[float, Field(gt=0)] = 1.5e-4
    warmup: Fraction = 0.2
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    betas: Betas = (0.9, 0.95)
    clip_grad: Annotated[float, Field(ge=0)] = 0.0
    seed: Seed = 0
    checkpoint_every: Count = 500
    checkpoints_kept: Count = 2
    order: Literal["dealt", "blocks"] = "dealt"
    read_rows: Count = 8
    companions: Count = 1
    mix_blocks: Count = 8
    read_ahead: Count = 2
    read_ahead_gb: Annotated[float, Field(gt=0)] = 4.0
    cache_folder: str = ""
    cache_gb: Annotated[float, Field(gt=0)] = 100.0
    workers: CountOrNone = 0
    threads: CountOrNone = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    micro_batch: CountOrNone = 256
    precision: Literal["auto", "bf16", "float32"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    skip_hidden: bool = True
    unfinished: bool = False
    presence: Presence = False
    ema: Fraction = 0.0
    augment: Literal["none", "flips", "dihedral"] = "none"
    leave_out: LeftOut = ()
    only: LeftOut = ()
    hide_outside: bool = False
    log_every: Count = 10
    pictures_every: CountOrNone = 500
    keep_every: CountOrNone = 0
    bad_steps: Count = 3
    processes: Count = 1
    peak_tflops: Annotated[float, Field(ge=0)] = 0.0
    val_every: ValEvery = "auto"
    val_chips: Count = 512
    monitor: str = ""
    monitor_chips: Count = 1000
    wandb: str = ""

    @model_validator(mode="wrap")
    @classmethod
    def _in_one_sentence(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        with one_sentence("pretrain", [item.name for item in fields(cls)]):
            return handler(data)

    @model_validator(mode="after")
    def _is_one_method(self) -> Self:
        if self.method_file and self.method != Path(self.method_file).stem:
            raise Fatal(
                f"pretrain.method is {self.method!r}, and pretrain.method_file is {self.method_file}; leave one out."
            )
        return self

    @model_validator(mode="after")
    def _shows_a_patch(self) -> Self:
        if self.image_px % self.patch_px:
            raise Fatal(f"pretrain.image_px {self.image_px} is not a multiple of patch_px {self.patch_px}.")
        if self.visible_patches < 1:
            raise Fatal(f"pretrain.mask_ratio {self.mask_ratio} hides every patch; lower it or enlarge image_px.")
        return self

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PretrainConfig:
        """From TOML values: `preset` and `pretext` name starting points, every other key is a field.

        `PRESETS` set size and length, `PRETEXTS` set inputs and targets. A key may be the old name of a field, see
        `RENAMED`. Raises `Fatal` for an unknown key, preset, pretext or choice, and for a value of a wrong type or
        outside its range.
        """
        settings = _by_new_names(data)
        preset, pretext = str(settings.pop("preset", "atto")), str(settings.pop("pretext", "all"))
        if preset not in PRESETS:
            raise unknown_name("pretrain.preset", preset, PRESETS)
        if pretext not in PRETEXTS:
            raise unknown_name("pretrain.pretext", pretext, PRETEXTS)
        known = [*(item.name for item in fields(cls)), "preset", "pretext"]
        for name in settings:
            if name not in known:
                raise unknown_name("setting", f"pretrain.{name}", [f"pretrain.{each}" for each in known])
        return replace(PRESETS[preset], **{**PRETEXTS[pretext], **_with_method(_on(PRESETS[preset], settings))})

    def to_dict(self) -> dict[str, Any]:
        """JSON and TOML values under their stored names; `from_dict` gives the same configuration back."""
        defaults = PretrainConfig()
        unset = [name for name in _STORED_WHERE_SET if getattr(self, name) == getattr(defaults, name)]
        return {name: value for name, value in self.every_setting().items() if name not in unset}

    def every_setting(self) -> dict[str, Any]:
        """As `to_dict`, with settings that are not stored while they have their defaults."""
        data = asdict(self)
        lists = {name: list(value) for name, value in data.items() if isinstance(value, tuple)}
        data |= lists | {"bands": {name: list(bands) for name, bands in self.bands.items()}}
        return {_STORED_AS.get(name, name): value for name, value in data.items()}

    def as_begun(self, stored: Mapping[str, Any]) -> PretrainConfig:
        """With the order of a run that has begun, if its `stored` configuration is too old to name one."""
        if "order" in stored:
            return self
        old = {**BEFORE, **stored}
        return replace(self, **{name: old[name] for name in _OF_THE_ORDER if name in old})

    @property
    def span_rows(self) -> int:
        """How many neighbouring rows a reader does well to read at once, if it can keep a few such spans."""
        few = self.order == "blocks" or self.batch_size // self.companions <= self.mix_blocks
        return self.read_rows if few else 1

    @property
    def side(self) -> int:
        """Patches along an edge of the crop."""
        return self.image_px // self.patch_px

    @property
    def visible_patches(self) -> int:
        """Patches that the encoder sees."""
        return int(self.side**2 * (1 - self.mask_ratio))


def _by_new_names(data: Mapping[str, Any]) -> dict[str, Any]:
    for old, new in RENAMED.items():
        if old in data and new in data:
            raise Fatal(f"pretrain.{old} is the old name of pretrain.{new}; set only one of them.")
    return {RENAMED.get(name, name): value for name, value in data.items()}


def _on(preset: PretrainConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, with the options of a preset of the same method where they set no others.

    Who sets `epochs` and no `steps` means them: the steps of a preset, which would count before, go.
    """
    settings = {"steps": 0, **settings} if "epochs" in settings else settings
    given = settings.get("options", {})
    same = settings.get("method", preset.method) == preset.method and "method_file" not in settings
    if not isinstance(given, Mapping):
        return dict(settings)
    return {**settings, "options": {**(preset.options if same else {}), **given}}


def _with_method(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, with the method that a method file stands for."""
    path = settings.get("method_file")
    if not isinstance(path, str | Path) or not str(path):
        return dict(settings)
    return {"method": Path(path).stem, **settings, "method_file": str(path)}


# The published recipe for 128-pixel chips ("atto") and for their 64-pixel centres ("atto_56"), and one that a
# laptop finishes in about a minute ("demo"). The demo's learning rate is far higher because its batch and its net are
# small. It uses one thread for a steady speed: two threads gave 8 steps/s instead of 5 on idle cores, 1 on busy ones.
PRESETS: dict[str, PretrainConfig] = {
    "atto": PretrainConfig(),
    "atto_56": PretrainConfig(image_px=56, patch_px=8),
    "demo": PretrainConfig(
        encoder="zepto", image_px=56, patch_px=8, decoder_width=128, batch_size=8, steps=250, blr=0.05,
        checkpoint_every=50, threads=1,
    ),
}  # fmt: skip

# Contrastive pretraining: the published three encoders ("sensors"; batch, rates and length are unknown, these are near
# CLIP's), and a small one for chips of 64 px that two cores train in minutes ("sensors_small").
PRESETS |= {
    "sensors": PretrainConfig(
        method="contrastive", bands={"@colour": ("@display",)}, image_px=448, patch_px=16, batch_size=1024, epochs=30,
        blr=1.25e-4, warmup=0.1, weight_decay=0.2, betas=(0.9, 0.98), micro_batch=32,
    ),
    "sensors_small": PretrainConfig(
        method="contrastive", options={"tower": "zepto", "embedding_width": 64}, init_std="fan-in", image_px=48,
        patch_px=16, batch_size=64, steps=400, blr=0.016, warmup=0.1, betas=(0.9, 0.98), micro_batch=0,
        checkpoint_every=50, read_rows=16, threads=1,
    ),
}  # fmt: skip

# Inputs and targets, as selectors of `selection`. The published checkpoints are called all_mod, pix_mod, img_mod, S2
# and rgb. Our rgb has the three bands in display order; the published one has blue, green, red.
PRETEXTS: dict[str, dict[str, Any]] = {
    "all": {},
    "pixel": {"targets": ("@pixel",)},
    "image": {"targets": ("@image",)},
    "inputs": {"targets": ("@inputs",)},
    "rgb": {"targets": ("@inputs",), "bands": {"@colour": ("@display",)}},
}
