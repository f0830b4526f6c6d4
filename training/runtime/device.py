"""The device of this process, its precision, and whether steps are compiled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from pipeline.errors import Fatal
from training.config import PretrainConfig

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Device:
    """`place` is the torch device; `dtype` is the dtype of autocast, where float32 means no autocast."""

    place: torch.device
    dtype: torch.dtype
    compiled: bool

    @classmethod
    def of(cls, config: PretrainConfig, local_rank: int = 0) -> Device:
        """The configured device; "auto" means bf16 on a GPU, float32 on a CPU, and eager on both.

        On CPUs, bf16 did not speed up the backward pass, and compiling takes minutes, which a short run does not regain
        (docs/training.md). Losses of compiled steps were not compared with eager ones over thousands of steps, so
        compiling is for those who ask for it. Raises `Fatal` for a GPU that the machine does not have.
        """
        device = _named(config.device, local_rank)
        gpu = device.type == "cuda"
        bf16 = config.precision == "bf16" or (config.precision == "auto" and gpu)
        return cls(device, torch.bfloat16 if bf16 else torch.float32, config.compile == "on")

    def adopt(self, model: Model) -> Model:
        """The model, moved to this device, with channels-last kernels.

        Only kernels: four-dimensional tokens and norms would get strides that their gradients do not have.
        """
        for part in model.modules():
            if isinstance(part, nn.Conv2d):
                part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model.to(self.place)

    def autocast(self) -> torch.autocast:
        """The context in which the forward pass runs."""
        return torch.autocast(self.place.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def synchronise(self) -> None:
        """Wait until the device has finished its queued work; on a CPU there is none."""
        if self.place.type == "cuda":
            torch.cuda.synchronize(self.place)

    @property
    def description(self) -> str:
        """The name of the GPU, or the number of CPU threads, as text."""
        if self.place.type == "cuda":
            return torch.cuda.get_device_name(self.place)
        return f"CPU, {torch.get_num_threads()} threads"


def summary() -> dict[str, str | int]:
    """What training would run on: version of torch, kind of device, its description, and the number of devices.

    Raises `Fatal` as `Device.of` does.
    """
    device = Device.of(PretrainConfig())
    return {
        "torch": torch.__version__, "device": device.place.type, "description": device.description,
        "devices": torch.cuda.device_count() if device.place.type == "cuda" else 1,
    }  # fmt: skip


def _named(name: str, local_rank: int) -> torch.device:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not gpus):
        return torch.device("cpu")
    if not gpus:
        raise Fatal("pretrain.device is cuda, but torch finds no GPU here; use auto or cpu.")
    if local_rank >= gpus:
        raise Fatal(f"process {local_rank + 1} finds no GPU: this machine has {gpus}; start as many processes.")
    torch.cuda.set_device(local_rank)
    torch.backends.cudnn.benchmark = True  # The shapes of a run do not change: the fastest kernel of each is kept.
    return torch.device("cuda", local_rank)


@contextmanager
def threads(count: int, processes_here: int = 1) -> Iterator[None]:
    """`count` threads for torch; 0 keeps its default, or divides the cores among `processes_here` processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or (before if processes_here == 1 else max(1, (os.cpu_count() or 1) // processes_here)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
