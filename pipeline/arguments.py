"""Arguments that people give from Python: one of another type is refused in a sentence, before anything fails on it."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.errors import Fatal


def whole_number(what: str, value: object, least: int | None = None) -> int:
    """`value` as an int, of any integer type; raises `Fatal` for another type, or a number below `least`."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise Fatal(f"{what} must be a whole number, not {value!r:.80}.") from None
    if least is not None and number < least:
        raise Fatal(f"{what} must be at least {least}, not {number}.")
    return number


def path(what: str, value: object) -> Path:
    """`value`, text or a path, with the home folder for `~`; raises `Fatal` for another type and for empty text."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise Fatal(f"{what} must be a path, not {value!r:.80}.")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:  # "~name" of somebody who has no home here
        raise Fatal(f"there is no folder {value}: {error}.") from error


def names(what: str, value: object) -> tuple[Any, ...]:
    """`value`, one name or several, in their order; raises `Fatal` for what is neither."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Iterable):
        raise Fatal(f"{what} must be a list of names, not {value!r:.80}.")
    return tuple(map(_hashable, value))


def _hashable(name: object) -> object:
    """The name, or what stands for one that cannot be compared: it is refused as unknown."""
    return name if isinstance(name, str) else f"{name!r:.80}"
