"""A way out of a corpus: its name, its options, and the function that writes it; found in the files of this folder."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from exporters import formats as room
from exporters.formats.leavings import Leavings, nothing
from exporters.formats.selection import Selection
from pipeline.errors import unknown_name
from pipeline.progress import Progress

Options = Mapping[str, str]
Writer = Callable[[Selection, Path, Options, Progress], str]


@dataclass(frozen=True)
class Format:
    """`write(selection, target, options, progress)` fills `target`, a path that does not exist, and returns a line.

    `title` and the help of each of the `options` are for the command line. `write` raises `Fatal` for a selection that
    the format cannot hold and an option's value that it does not know. A format that `takes_computed` layers has all
    values from `Selection`, and copies no part of the store as it is. `leaves` tells what `write` left in a folder.
    """

    name: str
    title: str
    write: Writer
    options: Mapping[str, str] = field(default_factory=dict)
    takes_computed: bool = False
    leaves: Leavings = nothing


@cache
def formats() -> dict[str, Format]:
    """All ways out by name, sorted: what the files of this folder define at their top level."""
    modules = [importlib.import_module(f"{room.__name__}.{info.name}") for info in pkgutil.iter_modules(room.__path__)]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, Format)]
    return {item.name: item for item in sorted(found, key=lambda item: item.name)}


def format_of(name: str, options: Options) -> Format:
    """The format called `name`; raises `Fatal`, with the nearest known name, for an unknown format or option."""
    known = formats()
    if name not in known:
        raise unknown_name("format", name, known)
    for option in options:
        if option not in known[name].options:
            raise unknown_name(f"option of {name}", option, known[name].options)
    return known[name]
