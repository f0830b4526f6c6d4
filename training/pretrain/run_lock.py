"""One training of a run at a time: one process holds the run's folder for all that train together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

from pipeline import fence
from pipeline.errors import Fatal
from pipeline.lock import locked, refuse_lost
from training.runtime.distributed_context import DistributedContext


@contextmanager
def held(folder: Path, context: DistributedContext, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the run in `folder` by the first process; the others wait for it, and are refused with it.

    Raises `Fatal` in every process while another run of it is under way, see `pipeline.lock.locked`.
    """
    with ExitStack() as stack:
        refusal = context.broadcast(_entered(stack, locked(folder, say)) if context.first else None)
        if refusal is not None:
            raise refusal
        yield


def _entered(stack: ExitStack, holding: AbstractContextManager[None]) -> Fatal | None:
    """Enter for as long as `stack` lasts; returns what speaks against it."""
    try:
        stack.enter_context(holding)
    except Fatal as refusal:
        return refusal
    return None


def held_by_parent(folder: Path, token: str) -> AbstractContextManager[None]:
    """In a process that the holder of the lock with this token started: write only as long as that lock stays."""
    return fence.guarded(partial(refuse_lost, folder, token))
