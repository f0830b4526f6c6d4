"""What a pretraining run is: inputs, targets, sizes, optimisation; read from plain TOML values and checked at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, Literal

from pipeline.errors import Fatal, unknown_name
from training.architecture import GRN_SCOPES, INIT_STDS, STEMS, GrnScope, InitStd, Stem
from training.size import SIZES

Weighting = Literal["uncertainty", "sum"]
Decoder = Literal["shared", "per-task"]

_CHOICES = {
    "encoder": tuple(SIZES),
    "stem": STEMS,
    "response": GRN_SCOPES,
    "spread": INIT_STDS,
    "decoder": ("shared", "per-task"),
    "weighting": ("uncertainty", "sum"),
    "device": ("auto", "cpu", "cuda"),
    "precision": ("auto", "bf16", "float32"),
    "compile": ("auto", "on", "off"),
}

# Settings that change how a run is carried out, but, rounding apart, not what it computes: it may resume with others.
WITHOUT_EFFECT = (
    "checkpoint_every", "checkpoints_kept", "keep_every", "read_ahead", "workers", "threads", "device", "micro_batch",
    "compile", "processes", "log_every", "peak_tflops", "wandb", "skip_hidden", "pictures_every",
)  # fmt: skip


@dataclass(frozen=True)
class PretrainConfig:
    """One run. The defaults are MP-MAE's: 112 px, patch 16, atto, an effective batch of 4096.

    `inputs`, `targets` and `bands` may select by what a layer is, see `selection`; `targets` empty means every modality
    of the corpus. `bands` names the bands to use of a modality; without an entry they are those that have data in every
    group of its statistics. `spread` says how widely kernels are drawn at first (`encoder.initialise`): "fan-in" suits
    narrow encoders and short runs. `steps` 0 means `epochs` passes over the train rows. `warmup` is a fraction of the
    steps. Runs of `read_rows` neighbouring rows are shuffled together, `mix_blocks` of them at a time. `workers`
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

    inputs: tuple[str, ...] = ("@colour",)
    targets: tuple[str, ...] = ()
    bands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    encoder: str = "atto"
    stem: Stem = "modified"
    response: GrnScope = "image"
    spread: InitStd = "fixed"
    image_px: int = 112
    patch_px: int = 16
    mask_ratio: float = 0.6
    decoder: Decoder = "shared"
    decoder_width: int = 512
    decoder_depth: int = 1
    weighting: Weighting = "uncertainty"
    batch_size: int = 4096
    epochs: int = 200
    steps: int = 0
    blr: float = 1.5e-4
    warmup: float = 0.2
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    seed: int = 0
    checkpoint_every: int = 500
    checkpoints_kept: int = 2
    read_rows: int = 64
    mix_blocks: int = 8
    read_ahead: int = 2
    workers: int = 0
    threads: int = 0
    device: str = "auto"
    micro_batch: int = 256
    precision: str = "auto"
    compile: str = "auto"
    skip_hidden: bool = True
    unfinished: bool = False
    log_every: int = 10
    pictures_every: int = 500
    keep_every: int = 0
    processes: int = 1
    peak_tflops: float = 0.0
    wandb: str = ""

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        problem = next((text for test, text in _refusals(self) if test), None)
        if problem:
            raise Fatal(f"pretrain.{problem}.")

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> PretrainConfig:
        """From plain TOML values: `preset` and `pretext` name starting points, every other key a field.

        `PRESETS` say how large and how long, `PRETEXTS` from which layers to which. Raises `Fatal` for an unknown key,
        preset, pretext or choice, or a value of another type.
        """
        settings = dict(plain)
        preset, pretext = str(settings.pop("preset", "atto")), str(settings.pop("pretext", "all"))
        if preset not in PRESETS:
            raise unknown_name("pretrain.preset", preset, PRESETS)
        if pretext not in PRETEXTS:
            raise unknown_name("pretrain.pretext", pretext, PRETEXTS)
        known = {item.name: item for item in fields(cls)}
        for name in settings:
            if name not in known:
                settable = [f"pretrain.{item}" for item in [*known, "preset", "pretext"]]
                raise unknown_name("setting", f"pretrain.{name}", settable)
        given = {name: _typed(name, value) for name, value in settings.items()}
        return replace(PRESETS[preset], **{**PRETEXTS[pretext], **given})

    def to_dict(self) -> dict[str, Any]:
        """JSON and TOML values; `from_dict` gives the same configuration back."""
        data = asdict(self)
        lists = {name: list(value) for name, value in data.items() if isinstance(value, tuple)}
        return data | lists | {"bands": {name: list(bands) for name, bands in self.bands.items()}}

    @property
    def side(self) -> int:
        """Patches along an edge of the crop."""
        return self.image_px // self.patch_px

    @property
    def visible_patches(self) -> int:
        """Patches that the encoder sees."""
        return int(self.side**2 * (1 - self.mask_ratio))


def _refusals(config: PretrainConfig) -> list[tuple[bool, str]]:
    positive = ("image_px", "decoder_width", "decoder_depth", "batch_size", "epochs", "read_rows", "mix_blocks",
                "read_ahead", "checkpoint_every", "checkpoints_kept", "log_every", "processes")  # fmt: skip
    small = [name for name in positive if getattr(config, name) < 1]
    patch = config.patch_px
    return [
        (bool(small), f"{small[0] if small else ''} must be at least 1"),
        (patch < 8 or patch % 8 != 0, f"patch_px must be a multiple of 8, not {patch}"),
        (patch > 0 and config.image_px % patch != 0,
         f"image_px {config.image_px} is not a multiple of patch_px {patch}"),
        (not 0 < config.mask_ratio < 1, f"mask_ratio must lie between 0 and 1, not {config.mask_ratio}"),
        (patch > 0 and config.visible_patches < 1,
         f"mask_ratio {config.mask_ratio} hides every patch; lower it or enlarge image_px"),
        (min(config.steps, config.workers, config.threads, config.seed) < 0,
         "steps, workers, threads and seed must not be negative"),
        (min(config.micro_batch, config.keep_every, config.peak_tflops, config.pictures_every) < 0,
         "micro_batch, keep_every, peak_tflops and pictures_every must not be negative"),
        (config.blr <= 0, f"blr must be positive, not {config.blr}"),
        (not 0 <= config.warmup < 1, f"warmup is a fraction of the steps below 1, not {config.warmup}"),
        (len(config.betas) != 2, "betas must be two numbers"),
    ]  # fmt: skip


def _typed(name: str, value: Any) -> Any:
    """`value` in the type of the field called `name`, which its default tells."""
    wanted = {item.name: item.default if item.default is not MISSING else {} for item in fields(PretrainConfig)}[name]
    if isinstance(wanted, Mapping) and isinstance(value, Mapping):
        return {str(key): _names(f"{name}.{key}", bands) for key, bands in value.items()}
    if name == "betas":
        return tuple(_number(name, item, 0.0) for item in (value if isinstance(value, list | tuple) else [value]))
    if isinstance(wanted, tuple):
        return _names(name, value)
    if isinstance(wanted, int | float) and not isinstance(wanted, bool):
        return _number(name, value, wanted)
    if not isinstance(value, type(wanted)):
        kinds = {bool: "true or false", str: "text"}
        raise Fatal(f"pretrain.{name} must be {kinds.get(type(wanted), 'a table')}, not {value!r}.")
    return value


def _names(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise Fatal(f"pretrain.{name} must be a list of names, not {value!r}.")
    return tuple(value)


def _number(name: str, value: Any, wanted: float) -> float:
    kind = type(wanted)
    if isinstance(value, bool) or not isinstance(value, int | float) or kind(value) != value:
        raise Fatal(f"pretrain.{name} must be {'a whole number' if kind is int else 'a number'}, not {value!r}.")
    return kind(value)


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
