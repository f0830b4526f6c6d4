"""The names that the owner's columns keep, beside the manifest's own."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.manifest import COLUMNS
from pipeline.own_columns import PREFIX, TAKEN_BESIDE


def kept_names(names: Sequence[str]) -> dict[str, str]:
    """The name under which each column is kept: its own, or with "own_" before it where the manifest has that name.

    Upper and lower case do not make a name another, as they do not for many tools.
    """
    taken = {name.lower() for name in (*COLUMNS, *TAKEN_BESIDE)}
    free = {name.lower() for name in names} - taken
    kept: dict[str, str] = {}
    for name in names:
        kept[name] = name if name.lower() not in taken else _prefixed(name, taken | free)
        taken.add(kept[name].lower())
    return kept


def _prefixed(name: str, taken: set[str]) -> str:
    longer = f"{PREFIX}{name}"
    return longer if longer.lower() not in taken else _prefixed(longer, taken)
