"""Where figures are drawn: TensorBoard always, Weights & Biases where it was asked for."""

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
    """Takes figures; without a writer, as in processes that do not write, it draws nothing."""

    writer: SummaryWriter | None = None
    wandb_run: Any = None

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Draw `figures` at `step`. Weights & Biases ignores steps that a stopped run has sent already."""
        if self.writer is not None:
            for name, value in figures.items():
                self.writer.add_scalar(name, value, step)
        if self.wandb_run is not None:
            self.wandb_run.log(dict(figures), step=step)

    def show(self, step: int, name: str, picture: NDArray[np.uint8]) -> None:
        """Draw a picture (y, x, 3); Weights & Biases gets figures alone."""
        if self.writer is not None:
            self.writer.add_image(name, picture, step, dataformats="HWC")

    def flush(self) -> None:
        """Make what was drawn outlive this process."""
        if self.writer is not None:
            self.writer.flush()


def refuse_absent(project: str) -> None:
    """Raise `Fatal` when Weights & Biases was asked for and is not installed."""
    if project and find_spec("wandb") is None:
        raise Fatal("pretrain.wandb is set, but wandb is not installed; run `pip install wandb`, or leave it empty.")


@contextmanager
def opened(folder: Path, step: int, project: str, config: Mapping[str, Any]) -> Iterator[MetricWriter]:
    """The board of the run in `folder`, for the steps after `step`.

    Weights & Biases is imported, and contacted, only where `project` names one; `WANDB_MODE=offline` is its way not to.
    """
    with ExitStack() as stack:
        writer = stack.enter_context(SummaryWriter(str(folder / TENSORBOARD), purge_step=step + 1))
        run = _wandb_run(folder, project, config) if project else None
        if run is not None:
            stack.callback(run.finish)
        yield MetricWriter(writer, run)


def _wandb_run(folder: Path, project: str, config: Mapping[str, Any]) -> Any:
    """The same run at every launch: its id was made up at the first and is kept in the folder."""
    kept = folder / WANDB_ID
    if not kept.exists():
        durable.write_text(kept, uuid.uuid4().hex)
    wandb = import_module("wandb")
    return wandb.init(project=project, name=folder.name, id=kept.read_text().strip(), resume="allow", dir=str(folder),
                      config=dict(config))  # fmt: skip
