"""The chips that a run leaves out, and those that it keeps to: rows and ids, or a file of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from training.config import LeftOut, PretrainConfig

_LEAVE_OUT, _ONLY = "leave_out", "only"


def rows_left_out(corpus: Corpus, leave_out: LeftOut) -> NDArray[np.int64]:
    """The manifest rows, (rows,) int64, ascending, of `leave_out`: a file, or rows and ids of chips.

    A line of a file may be empty or a comment (#), or have several with commas between them. What is written in digits
    is a row, unless a chip has that id; "0:100" are the first hundred rows. Raises `Fatal` for a file that cannot be
    read, and for a chip that the corpus does not have.
    """
    return _named(corpus, leave_out, _LEAVE_OUT)


def rows_kept_to(corpus: Corpus, only: LeftOut) -> NDArray[np.int64]:
    """The manifest rows, (rows,) int64, ascending, that `only` names, in the same words as `rows_left_out`."""
    return _named(corpus, only, _ONLY)


def not_trained_on(corpus: Corpus, config: PretrainConfig) -> NDArray[np.int64]:
    """The manifest rows, ascending, that are left out, or are not among those that a run keeps to."""
    left_out = rows_left_out(corpus, config.leave_out)
    if not config.only:
        return left_out
    others = np.setdiff1d(np.arange(len(corpus.manifest)), rows_kept_to(corpus, config.only))
    return np.union1d(left_out, others)


def as_stretches(rows: NDArray[np.int64]) -> tuple[str, ...]:
    """Ascending rows in few words, each "0:100" or "250"; the end is not included.

    >>> as_stretches(np.array([0, 1, 2, 9]))
    ('0:3', '9')
    """
    parts = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1) if len(rows) else []
    return tuple(f"{part[0]}:{part[-1] + 1}" if len(part) > 1 else f"{part[0]}" for part in parts)


def _named(corpus: Corpus, named: LeftOut, setting: str) -> NDArray[np.int64]:
    items = _lines(Path(named), setting) if isinstance(named, str) and named else tuple(named)
    rows_of = _rows_of_ids(corpus) if any(isinstance(item, str) for item in items) else {}
    rows = {row for item in items for row in _rows(item, rows_of, corpus, setting)}
    return np.array(sorted(rows), dtype=np.int64)


def _lines(path: Path, setting: str) -> Sequence[str]:
    try:
        lines = [line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise Fatal(
            f"pretrain.{setting} = {str(path)!r} cannot be read as a file of one row or id per line: {reason}; rows "
            f"themselves are a list, such as pretrain.{setting}='[\"0:100\", 250]'."
        ) from error
    return [item.strip() for line in lines for item in line.split(",") if item.strip()]


def _rows_of_ids(corpus: Corpus) -> dict[str, list[int]]:
    """Joined corpora may have an id more than once."""
    ids: Iterable[object] = corpus.manifest.column("id").tolist()
    rows_of: dict[str, list[int]] = {}
    for row, item in enumerate(ids):
        rows_of.setdefault(str(item), []).append(row)
    return rows_of


def _rows(item: int | str, rows_of: dict[str, list[int]], corpus: Corpus, setting: str) -> Sequence[int]:
    if isinstance(item, str) and item in rows_of:
        return rows_of[item]
    first, colon, last = f"{item}".partition(":")
    if isinstance(item, str) and not (first.isdecimal() and (last.isdecimal() or not colon)):
        raise Fatal(
            f"pretrain.{setting} names chip {item!r}, which {corpus.folder} does not have; take it off the list."
        )
    rows = range(int(first), int(last) if colon else int(first) + 1)
    count = len(corpus.manifest)
    if not rows or rows[0] < 0 or rows[-1] >= count:
        raise Fatal(
            f"pretrain.{setting} names {'rows' if colon else 'row'} {item}, but the rows of {corpus.folder} are 0 to "
            f"{count - 1}; take it off the list."
        )
    return rows
