"""Progress for a person or a log: in a notebook below the cell, else on standard error, bars on a terminal or lines."""

from __future__ import annotations

import os
import sys

from flows.progress.bars import Bars
from flows.progress.cell import Cell
from flows.progress.lines import Lines

# Set by Jupyter for a kernel. What a cell starts with "!" inherits it, and gets a terminal that cannot move its cursor.
_KERNEL = "JPY_PARENT_PID"


def display(as_json: bool = False) -> Bars | Cell | Lines:
    """The display that suits where this process runs: a cell, bars on a terminal, lines elsewhere."""
    if as_json:
        return Lines(as_json=True)
    if in_notebook():
        return Cell()
    return Bars() if sys.stderr.isatty() and _KERNEL not in os.environ else Lines()


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")  # who has not imported it is no kernel
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None
