"""Whether a net draws random numbers: they depend on how a batch is divided, so a resumed run divides it as before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import Fatal


@dataclass(frozen=True)
class Division:
    """What the draws of a step follow from, beside seed and step: into which parts its batch is divided, and where."""

    processes: int
    micro_batches: int
    device: str
    compiled: bool

    @property
    def words(self) -> str:
        """For a sentence."""
        how = ", compiled" if self.compiled else ""
        return f"{self.processes} x {self.micro_batches} micro-batches on {self.device}{how}"


class RandomDraws:
    """Whether any step of a run has drawn from torch's generators; a part of every checkpoint."""

    def __init__(self, division: Division) -> None:
        self._division, self.happened = division, False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look whether the generators move; nothing waits for a device."""
        before = self._states()
        yield
        moved = (not torch.equal(one, other) for one, other in zip(before, self._states(), strict=True))
        self.happened = self.happened or any(moved)

    def _states(self) -> list[Tensor]:
        """None once it is known."""
        if self.happened:
            return []
        states = [torch.get_rng_state()]
        return [*states, torch.cuda.get_rng_state()] if self._division.device == "cuda" else states

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"happened": self.happened, **asdict(self._division)}

    def restore(self, state: Mapping[str, Any], run: str) -> None:
        """Go on from `state`, empty in older checkpoints.

        Raises `Fatal` where draws happened, and batches were divided otherwise.
        """
        if not state:
            return
        self.happened = bool(state["happened"])
        before = Division(**{name: value for name, value in state.items() if name != "happened"})
        if self.happened and before != self._division:
            raise Fatal(
                f"the net of the run in {run} draws random numbers, which follow from how batches are divided: before "
                f"{before.words}, now {self._division.words}; put pretrain.processes, micro_batch, device and compile "
                "back, or give the new run a name with pretrain.run=NAME."
            )
