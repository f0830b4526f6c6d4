"""Progress of what is called from Python: shown in a notebook and on a terminal, and nowhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from flows.progress.display import display, in_notebook
from pipeline.progress import Progress, Silent


@contextmanager
def shown(progress: Progress | None) -> Iterator[Progress]:
    """`progress`, or for None a display where somebody looks: in a notebook and on a terminal, by the first process."""
    if progress is not None:
        yield progress
    elif os.environ.get("RANK", "0") == "0" and (in_notebook() or sys.stderr.isatty()):
        with display() as bars:
            yield bars
    else:
        yield Silent()
