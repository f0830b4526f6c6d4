"""The closing lines of a stage: text for a person, and the same facts as JSON values for a machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self


class Closing(str):
    """A text with `facts`. Where the text is a table, `facts` hold one sentence as "done" in place of it."""

    facts: Mapping[str, Any] = MappingProxyType({})

    @classmethod
    def of(cls, text: str, **facts: Any) -> Self:
        """The text with these facts, which are JSON values."""
        closing = cls(text)
        closing.facts = facts
        return closing


def as_json(message: str, folder: str) -> dict[str, Any]:
    """What `--json` prints at the end: the corpus folder, what was done in one sentence, and the facts."""
    facts = message.facts if isinstance(message, Closing) else {}
    return {"folder": folder, "done": str(message), **{name: _plain(fact) for name, fact in facts.items()}}


def _plain(fact: Any) -> Any:
    """The same with null for NaN and infinity, which JSON does not know."""
    if isinstance(fact, Mapping):
        return {name: _plain(part) for name, part in fact.items()}
    if isinstance(fact, list | tuple):
        return [_plain(part) for part in fact]
    return None if isinstance(fact, float) and not math.isfinite(fact) else fact
