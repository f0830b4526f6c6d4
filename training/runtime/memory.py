"""Turns out-of-memory errors into one sentence with the setting to lower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pipeline.errors import Fatal

# Messages of torch's allocators that raise a plain RuntimeError.
_CPU_SIGNS = ("defaultcpuallocator", "not enough memory", "cannot allocate memory")


@contextmanager
def lowering(remedy: str) -> Iterator[None]:
    """Raise `Fatal`, with `remedy` at the end, for every kind of out-of-memory error inside."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _short(error, remedy) from error
    except RuntimeError as error:
        if not any(sign in str(error).lower() for sign in _CPU_SIGNS):
            raise
        raise _short(error, remedy) from error


def _short(error: BaseException, remedy: str) -> Fatal:
    where = "the GPU" if isinstance(error, torch.OutOfMemoryError) else "this machine"
    return Fatal(f"{where} is out of memory; {remedy}.")
