"""The chips that a run leaves out: manifest rows of a list of rows and ids, or of a file that has one a line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from training.config import LeftOut


def rows_left_out(corpus: Corpus, leave_out: LeftOut) -> NDArray[np.int64]:
    """The manifest rows, (rows,) int64, ascending, of `leave_out`: a file, or rows and ids of chips.

    A line of a file may be empty or a comment (#). What is written in digits is a row, unless a chip has that id.
    Raises `Fatal` for a file that cannot be read, and for a chip that the corpus does not have.
    """
    items = _lines(Path(leave_out)) if isinstance(leave_out, str) and leave_out else tuple(leave_out)
    rows_of = _rows_of_ids(corpus) if any(isinstance(item, str) for item in items) else {}
    rows = {row for item in items for row in _rows(item, rows_of, corpus)}
    return np.array(sorted(rows), dtype=np.int64)


def _lines(path: Path) -> Sequence[str]:
    try:
        lines = [line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise Fatal(
            f"pretrain.leave_out = {str(path)!r} cannot be read as a file of one row or id per line: {reason}."
        ) from error
    return [line for line in lines if line]


def _rows_of_ids(corpus: Corpus) -> dict[str, list[int]]:
    """Joined corpora may have an id more than once."""
    ids: Iterable[object] = corpus.manifest.column("id").tolist()
    rows_of: dict[str, list[int]] = {}
    for row, item in enumerate(ids):
        rows_of.setdefault(str(item), []).append(row)
    return rows_of


def _rows(item: int | str, rows_of: dict[str, list[int]], corpus: Corpus) -> Sequence[int]:
    if isinstance(item, str) and item in rows_of:
        return rows_of[item]
    if isinstance(item, str) and not item.isdecimal():
        raise Fatal(
            f"pretrain.leave_out names chip {item!r}, which {corpus.folder} does not have; take it off the list."
        )
    count = len(corpus.manifest)
    if not 0 <= int(item) < count:
        raise Fatal(
            f"pretrain.leave_out names row {item}, but the rows of {corpus.folder} are 0 to {count - 1}; "
            "take it off the list."
        )
    return [int(item)]
