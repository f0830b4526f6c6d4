"""A fault of a corpus: what is not as it was written, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Remedy(StrEnum):
    """What mends a fault; `geocorpus verify --repair` does the first two itself."""

    REWRITE = "`geocorpus verify --repair` writes it anew"
    EXPORT = "`geocorpus verify --repair` marks it missing, and `geocorpus export` pulls it again"
    COPY = "restore it from a copy"


@dataclass(frozen=True)
class Fault:
    """`what` (a file, an object or a shard) is `wrong`. `shard` of layer `name`, or an object's `key`, where it is one.

    Its text is one sentence.
    """

    what: str
    wrong: str
    remedy: Remedy
    name: str = ""
    shard: int = -1
    key: str = ""

    def __str__(self) -> str:
        return f"{self.what} {self.wrong}; {self.remedy}."
