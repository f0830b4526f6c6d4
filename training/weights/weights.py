"""Self-contained files of encoders: safetensors with timm's names, with bands, moments and origin as metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pipeline import arguments, durable
from pipeline.errors import Fatal, unknown_name
from training.architecture import Architecture, Geometry
from training.model.conv_tower import BEYOND, ConvTower
from training.model.encoder import Encoder
from training.model.normalisation import Normalisation
from training.model.tower import Tower
from training.model.vit import VitArchitecture
from training.weights.download import digest_of, fetch
from training.weights.from_run import from_checkpoint, newest_checkpoint
from training.weights.imagenet import is_imagenet, read_imagenet
from training.weights.pretrained import Pretrained
from training.weights.published import of_published, state_of
from training.weights.timm_names import fit, from_timm, to_timm

WEIGHTS = "encoder.safetensors"
_FORMAT = 1
_HEADS = ("head.", "unet.")
PICKLED = (".pth", ".pt", ".ckpt")


def save_encoder(path: str | Path, pretrained: Pretrained, head: Mapping[str, Tensor] | None = None) -> None:
    """Write `path` atomically: the encoder's weights with timm's names, everything else as metadata.

    A tower's modules have timm's names; its `channel_embed` and `projection` are not in timm, nor is the `fc_norm` of a
    ConvNeXt.

    `head` has the weights that a task adds, with names that start with `head.` or `unet.`.
    """
    encoder = pretrained.encoder
    weights = _timm_state(encoder) | dict(head or {})
    about = {
        "version": version("geocorpus"),
        **pretrained.facts,
        "format": _FORMAT,
        "architecture": encoder.architecture.to_dict(),
        **({"timm": fit(encoder.architecture)} if isinstance(encoder, Encoder) else {}),
        "inputs": pretrained.normalisation.to_dict(),
    }
    data = {name: item.detach().cpu().contiguous() for name, item in weights.items()}
    content = save(data, {"format": "pt", "geocorpus": json.dumps(about)})
    durable.write_bytes(Path(path), *_with_sorted_metadata(content))


def _timm_state(encoder: Encoder | Tower) -> dict[str, Tensor]:
    state = encoder.state_dict()
    if not isinstance(encoder, Encoder):
        return dict(state)
    own, beyond = _divided(state)
    return to_timm(own, encoder.architecture) | beyond


def _divided(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of a ConvNeXt V2, and those that make it a tower."""
    beyond = {name: item for name, item in state.items() if name.startswith(BEYOND)}
    return {name: item for name, item in state.items() if name not in beyond}, beyond


def _with_sorted_metadata(content: bytes) -> tuple[bytes, memoryview]:
    """The parts of a safetensors file whose metadata are in order: the library's order differs from run to run.

    Otherwise runs with equal weights would not write equal files.
    """
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, memoryview(content)[start:]


def load_encoder(source: str | Path, sha256: str | None = None, geometry: Geometry | None = None) -> Pretrained:
    """The encoder in a file, in the folder of a run or at an address, with its normalisation; on the CPU.

    `source` is a `.safetensors` of geocorpus, the folder of a run (its `encoder.safetensors`, or else its newest
    checkpoint), one of its checkpoints, a published MMEarth checkpoint (`.pth`), ImageNet's FCMAE ConvNeXt V2 (the file
    of its authors, or timm's), or the https address of a file; `sha256` is the expected digest of the file. `geometry`
    is how the weights are used, see `Architecture`: None as the file says, which of a published checkpoint means
    "sparse". Raises `Fatal` for any other source, digest or geometry, and `Transient` where a server does not answer.
    """
    if geometry is None:
        return _loaded(located(source, sha256))
    if geometry not in get_args(Geometry):
        raise unknown_name("geometry", geometry, get_args(Geometry))
    pretrained = _loaded(located(source, sha256))
    return replace(pretrained, encoder=_in_geometry(pretrained.convnext("a geometry"), geometry))


def _in_geometry(encoder: Encoder, geometry: Geometry) -> Encoder:
    with torch.device("meta"):
        result = Encoder.of(replace(encoder.architecture, geometry=geometry))
    result.load_state_dict(encoder.state_dict(keep_vars=True), assign=True)
    return result


def _loaded(path: Path) -> Pretrained:
    if path.suffix == ".pt" and path.with_suffix(".json").exists():
        return from_checkpoint(path)
    if path.suffix in PICKLED:
        return _from_others(state_of(path), path)
    metadata, state = _opened(path)
    if "geocorpus" not in metadata and is_imagenet(state):
        return read_imagenet(state, path.name)
    about = _about(metadata, path)
    normalisation = Normalisation.from_dict(about["inputs"])
    own = {name: item for name, item in state.items() if not name.startswith(_HEADS)}
    encoder = _filled(about["architecture"], own, path)
    facts = {name: value for name, value in about.items() if name not in ("architecture", "inputs")}
    return Pretrained(encoder, normalisation, facts)


def _from_others(state: Mapping[str, Tensor], path: Path) -> Pretrained:
    """Of a checkpoint that other code wrote."""
    if is_imagenet(state):
        return read_imagenet(state, path.name)
    published, normalisation = of_published(state, str(path))
    return Pretrained(published, normalisation, {"published": path.name})


def head_of(path: Path) -> dict[str, Tensor]:
    """The weights that a task added to the encoder in a file, empty for an encoder alone. Raises `Fatal` if damaged."""
    return {name: item for name, item in _read(path)[1].items() if name.startswith(_HEADS)}


def located(source: str | Path, sha256: str | None) -> Path:
    """The file of an encoder at `source`, as for `load_encoder`."""
    if "://" in str(source):
        return fetch(str(source), sha256)
    path = arguments.path("the source of an encoder", source)
    if path.is_dir():
        path = path / WEIGHTS if (path / WEIGHTS).exists() else newest_checkpoint(path) or path / WEIGHTS
    if not path.is_file():
        raise Fatal(f"there are no weights at {path}; give a file, a folder with {WEIGHTS}, or an https address.")
    if sha256 is not None and digest_of(path) != sha256:
        raise Fatal(f"{path} is not the file with sha256 {sha256}; check the path and the digest.")
    return path


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    metadata, state = _opened(path)
    return _about(metadata, path), state


def _opened(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as opened:
            return opened.metadata() or {}, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise Fatal(f"{path} is damaged or no safetensors file; export or fetch it again.") from error


def _about(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    if "geocorpus" not in metadata:
        raise Fatal(
            f"{path} does not say what its encoder looks at, and is no ConvNeXt V2 of ImageNet's FCMAE; give a file "
            "that geocorpus wrote."
        )
    try:
        about = dict(json.loads(metadata["geocorpus"]))
    except (ValueError, TypeError) as error:
        raise Fatal(f"{path} is damaged: what it says of itself is no JSON; export or fetch it again.") from error
    if about.get("format") != _FORMAT:
        raise Fatal(f"{path} has format {about.get('format')}, newer than this geocorpus reads; update it.")
    return about


def _filled(described: Mapping[str, Any], state: Mapping[str, Tensor], path: Path) -> Encoder | Tower:
    try:
        if VitArchitecture.describes(described):
            return _tower(VitArchitecture.from_dict(described), state)
        return _convnext(Architecture.from_dict(described), state)
    except (RuntimeError, KeyError, StopIteration) as error:
        raise Fatal(f"the weights in {path} do not fit its own description; export or fetch it again.") from error


def _convnext(architecture: Architecture, state: Mapping[str, Tensor]) -> Encoder:
    own, beyond = _divided(state)
    with torch.device("meta"):
        encoder = ConvTower(architecture, len(beyond["projection.weight"])) if beyond else Encoder.of(architecture)
    encoder.load_state_dict(from_timm(own, architecture) | beyond, assign=True)
    return encoder


def _tower(architecture: VitArchitecture, state: Mapping[str, Tensor]) -> Tower:
    with torch.device("meta"):
        tower = Tower(architecture)
    tower.load_state_dict(state, assign=True)
    return tower
