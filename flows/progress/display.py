"""Progress for a person or a log, on standard error: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import sys

from flows.progress.bars import Bars
from flows.progress.lines import Lines


def display(as_json: bool = False) -> Bars | Lines:
    """The display that suits standard error: bars on a terminal, lines elsewhere."""
    if as_json:
        return Lines(as_json=True)
    return Bars() if sys.stderr.isatty() else Lines()
