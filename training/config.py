"""What a pretraining run is: inputs, targets, sizes, optimisation; read from plain TOML values and checked at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, field, fields, replace
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic.functional_validators import ModelWrapValidatorHandler

from pipeline.errors import Fatal, unknown_name
from pipeline.validation import STRICT, Betas, Count, CountOrNone, Fraction, Names, Whole, one_sentence
from training.architecture import SIZES, Architecture, GrnScope, InitStd, Stem

Weighting = Literal["uncertainty", "sum"]
Decoder = Literal["shared", "per-task"]

# Settings and stored configurations may say the name before the arrow; stored ones always do, as they always did.
RENAMED = {"response": "grn_scope", "spread": "init_std"}
_STORED_AS = {name: stored for stored, name in RENAMED.items()}


def _known_size(name: str) -> str:
    if name not in SIZES:
        raise unknown_name("pretrain.encoder", name, SIZES)
    return name


# Settings that change how a run is carried out, but, rounding apart, not what it computes: it may resume with others.
WITHOUT_EFFECT = (
    "checkpoint_every", "checkpoints_kept", "keep_every", "read_ahead", "workers", "threads", "device", "micro_batch",
    "compile", "processes", "log_every", "peak_tflops", "wandb", "skip_hidden", "pictures_every",
)  # fmt: skip


@dataclass(frozen=True, config=STRICT)
class PretrainConfig:
    """One run. The defaults are MP-MAE's: 112 px, patch 16, atto, an effective batch of 4096.

    `inputs`, `targets` and `bands` may select by what a layer is, see `selection`; `targets` empty means every modality
    of the corpus. `bands` names the bands to use of a modality; without an entry they are those that have data in every
    group of its statistics. `init_std` says how widely kernels are drawn at first (`encoder.initialise`): "fan-in"
    suits narrow encoders and short runs. `steps` 0 means `epochs` passes over the train rows. `warmup` is a fraction of
    the steps. Runs of `read_rows` neighbouring rows are shuffled together, `mix_blocks` of them at a time. `workers`
    threads (0: one per core) decode `read_ahead` batches ahead. `threads` 0 leaves torch's own number; results are
    bit-identical for one number of threads.

    `batch_size` is the effective batch, over all processes and passes; a process computes `micro_batch` chips at a
    time (0: its whole share). `precision` and `compile` "auto" are bf16 and on for a GPU, float32 and off for a CPU.
    `skip_hidden` leaves out what the encoder would compute of hidden patches; the losses are the same without.
    `unfinished` allows training on the shards that are done; the run keeps to those it began with. Losses leave the
    device every `log_every` steps. The newest `checkpoints_kept` checkpoints stay, and those of every `keep_every`-th
    step (0: none). Every `pictures_every` steps, and at the end, a picture of reconstructions is drawn (0: none).
    `processes` is how many to start on this machine. `peak_tflops` is what the device can do, for the
    log's utilisation (0: measured at the start). `wandb` names a Weights & Biases project to log to ("": none).
    """

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
    seed: CountOrNone = 0
    checkpoint_every: Count = 500
    checkpoints_kept: Count = 2
    read_rows: Count = 64
    mix_blocks: Count = 8
    read_ahead: Count = 2
    workers: CountOrNone = 0
    threads: CountOrNone = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    micro_batch: CountOrNone = 256
    precision: Literal["auto", "bf16", "float32"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    skip_hidden: bool = True
    unfinished: bool = False
    log_every: Count = 10
    pictures_every: CountOrNone = 500
    keep_every: CountOrNone = 0
    processes: Count = 1
    peak_tflops: Annotated[float, Field(ge=0)] = 0.0
    wandb: str = ""

    @model_validator(mode="wrap")
    @classmethod
    def _in_one_sentence(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        with one_sentence("pretrain", [item.name for item in fields(cls)]):
            return handler(data)

    @model_validator(mode="after")
    def _shows_a_patch(self) -> Self:
        if self.image_px % self.patch_px:
            raise Fatal(f"pretrain.image_px {self.image_px} is not a multiple of patch_px {self.patch_px}.")
        if self.visible_patches < 1:
            raise Fatal(f"pretrain.mask_ratio {self.mask_ratio} hides every patch; lower it or enlarge image_px.")
        return self

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> PretrainConfig:
        """From plain TOML values: `preset` and `pretext` name starting points, every other key a field.

        `PRESETS` say how large and how long, `PRETEXTS` from which layers to which. A key may be the old name of a
        field, see `RENAMED`. Raises `Fatal` for an unknown key, preset, pretext or choice, or a value of another type
        or outside of its range.
        """
        settings = _by_new_names(plain)
        preset, pretext = str(settings.pop("preset", "atto")), str(settings.pop("pretext", "all"))
        if preset not in PRESETS:
            raise unknown_name("pretrain.preset", preset, PRESETS)
        if pretext not in PRETEXTS:
            raise unknown_name("pretrain.pretext", pretext, PRETEXTS)
        known = [*(item.name for item in fields(cls)), "preset", "pretext"]
        for name in settings:
            if name not in known:
                raise unknown_name("setting", f"pretrain.{name}", [f"pretrain.{each}" for each in known])
        return replace(PRESETS[preset], **{**PRETEXTS[pretext], **settings})

    def to_dict(self) -> dict[str, Any]:
        """JSON and TOML values, under the names that they are stored by; `from_dict` gives the same back."""
        plain = asdict(self)
        lists = {name: list(value) for name, value in plain.items() if isinstance(value, tuple)}
        plain |= lists | {"bands": {name: list(bands) for name, bands in self.bands.items()}}
        return {_STORED_AS.get(name, name): value for name, value in plain.items()}

    @property
    def side(self) -> int:
        """Patches along an edge of the crop."""
        return self.image_px // self.patch_px

    @property
    def visible_patches(self) -> int:
        """Patches that the encoder sees."""
        return int(self.side**2 * (1 - self.mask_ratio))


def _by_new_names(plain: Mapping[str, Any]) -> dict[str, Any]:
    for old, new in RENAMED.items():
        if old in plain and new in plain:
            raise Fatal(f"pretrain.{old} is the old name of pretrain.{new}; set only one of them.")
    return {RENAMED.get(name, name): value for name, value in plain.items()}


# The published recipe for 128-pixel chips ("atto") and for their 64-pixel centres ("atto_56"), and one that a
# laptop finishes in about a minute ("demo"). Its learning rate is far higher, as its batch and its net are small. It
# takes one thread, for a steady pace: two made 8 steps/s instead of 5 on free cores, and 1 on busy ones.
PRESETS: dict[str, PretrainConfig] = {
    "atto": PretrainConfig(),
    "atto_56": PretrainConfig(image_px=56, patch_px=8),
    "demo": PretrainConfig(
        encoder="zepto", image_px=56, patch_px=8, decoder_width=128, batch_size=8, steps=250, blr=0.05,
        checkpoint_every=50, read_rows=32, threads=1,
    ),
}  # fmt: skip

# From which layers to which, in words of `selection`; the published checkpoints are called all_mod, pix_mod, img_mod,
# S2 and rgb (the three bands in the order in which they are shown; there blue, green, red).
PRETEXTS: dict[str, dict[str, Any]] = {
    "all": {},
    "pixel": {"targets": ("@pixel",)},
    "image": {"targets": ("@image",)},
    "inputs": {"targets": ("@inputs",)},
    "rgb": {"targets": ("@inputs",), "bands": {"@colour": ("@display",)}},
}
