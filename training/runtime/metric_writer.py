"""Writes metrics to TensorBoard, and to Weights & Biases where that is configured."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from pipeline import durable
from pipeline.errors import Fatal

TENSORBOARD = "tensorboard"
WANDB_ID = "wandb-id.txt"


@dataclass(frozen=True)
class MetricWriter:
    """Writes metrics and pictures; without a `writer`, as in processes other than the first, it writes nothing."""

    writer: SummaryWriter | None = None
    wandb_run: Any = None

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write `metrics` at `step`. Weights & Biases ignores steps that a stopped run has sent already."""
        if self.writer is not None:
            for name, value in metrics.items():
                self.writer.add_scalar(name, value, step)
        if self.wandb_run is not None:
            self.wandb_run.log(dict(metrics), step=step)

    def show(self, step: int, name: str, picture: NDArray[np.uint8]) -> None:
        """Write a picture (y, x, 3) uint8, to TensorBoard only."""
        if self.writer is not None:
            self.writer.add_image(name, picture, step, dataformats="HWC")

    def tell(self, step: int, name: str, text: str) -> None:
        """Write a text, to TensorBoard only."""
        if self.writer is not None:
            self.writer.add_text(name, text, step)

    def flush(self) -> None:
        """Write buffered metrics to disk."""
        if self.writer is not None:
            self.writer.flush()


def refuse_absent(project: str) -> None:
    """Raise `Fatal` when `project` is set and Weights & Biases is not installed."""
    if project and find_spec("wandb") is None:
        raise Fatal("pretrain.wandb is set, but wandb is not installed; run `pip install wandb`, or leave it empty.")


@contextmanager
def opened(folder: Path, step: int, project: str, config: Mapping[str, Any]) -> Iterator[MetricWriter]:
    """The metric writer of the run in `folder`, for the steps after `step`.

    Weights & Biases is imported and contacted only where `project` is set; `WANDB_MODE=offline` avoids the contact.
    """
    with ExitStack() as stack:
        writer = stack.enter_context(SummaryWriter(str(folder / TENSORBOARD), purge_step=step + 1))
        run = _wandb_run(folder, project, config) if project else None
        if run is not None:
            stack.callback(run.finish)
        yield MetricWriter(writer, run)


def _wandb_run(folder: Path, project: str, config: Mapping[str, Any]) -> Any:
    """The same Weights & Biases run at every launch: its id is made at the first and stored in the folder."""
    path = folder / WANDB_ID
    if not path.exists():
        durable.write_text(path, uuid.uuid4().hex)
    wandb = import_module("wandb")
    return wandb.init(project=project, name=folder.name, id=path.read_text().strip(), resume="allow", dir=str(folder),
                      config=dict(config))  # fmt: skip
