"""The members of a JSON object one at a time: the description of a million tiles is larger than the memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from pipeline.errors import Fatal

_AT_ONCE = 1 << 20  # characters
_LONGEST = 1 << 24  # of a member: what is longer is not of this kind
_SPACE = " \t\n\r"


def json_items(path: Path) -> Iterator[tuple[str, Any]]:
    """Key and value of each member of the object in a file, in order.

    NaN is a number, as Python writes it; other streaming parsers refuse it. Raises `Fatal` for a file that is cut
    short, or holds something else.
    """
    try:
        with path.open(encoding="utf-8") as file:
            yield from _Members(file).items()
    except (OSError, ValueError) as error:
        raise Fatal(f"{path} cannot be read as a JSON object ({error}); copy it again.") from error


class _Members:
    """A window on the text, from `_at` on."""

    def __init__(self, file: IO[str]) -> None:
        self._file, self._text, self._at = file, "", 0
        self._decoder = json.JSONDecoder()

    def items(self) -> Iterator[tuple[str, Any]]:
        self._take("{")
        if self._next() == "}":
            return
        while True:
            key = self._value()
            self._take(":")
            yield str(key), self._value()
            if self._next() == "}":
                return
            self._take(",")

    def _take(self, expected: str) -> None:
        found = self._next()
        if found != expected:
            raise ValueError(f"{expected!r} is expected, not {found!r}" if found else "it ends too early")
        self._at += 1

    def _next(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def _value(self) -> Any:
        """A value behind which there is at least one more character: a number might go on there."""
        self._next()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except ValueError:
                if len(self._text) - self._at > _LONGEST or not self._more():
                    raise
                continue
            if end < len(self._text) or not self._more():
                self._at = end
                return value

    def _more(self) -> bool:
        """Read on, and forget what is done with; False at the end."""
        text = self._file.read(_AT_ONCE)
        self._text, self._at = self._text[self._at :] + text, 0
        return bool(text)
