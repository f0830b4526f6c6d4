"""The finding of one check: fine, worth knowing, or a problem, in one sentence with the remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """`level` "problem" ends the command with code 1. `said` is one sentence, with the remedy if one is needed.

    `facts` hold the same as JSON values, for programs; never secrets.
    """

    level: Literal["ok", "note", "problem"]
    said: str
    facts: Mapping[str, object] = field(default_factory=dict)


def shown(path: Path) -> str:
    """A path with the home folder as `~`, because findings are pasted into public issues."""
    home = str(Path.home())
    return "~" + str(path)[len(home) :] if home != "/" and f"{path}/".startswith(f"{home}/") else str(path)
