"""What writers left in a folder, by which a folder that --overwrite may replace is told from somebody's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from pipeline.errors import Fatal

# The names in a folder that one writer left there; none where it did not write that folder.
Leavings = Callable[[Path], Collection[str]]


def nothing(_folder: Path) -> Collection[str]:
    """The leavings of a writer of single files."""
    return ()


def refuse_foreign(target: Path, leavings: Iterable[Leavings]) -> None:
    """Raise `Fatal`, with a name, for a folder that holds what not one of the writers left there alone.

    A file is replaced as it is, and of a link to a folder only the link.
    """
    if not target.is_dir() or target.is_symlink():
        return
    names = {path.name for path in target.iterdir()}
    foreign = min((names.difference(left(target)) for left in leavings), key=len, default=names)
    if foreign:
        raise Fatal(
            f"{target} holds {min(foreign)}, which this command does not write, and --overwrite would delete it; "
            "choose another target, or move it away yourself."
        )


def object_in(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one for what is no such file."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
