"""Patterns of paths: wildcards, and names in braces for what a path says about its file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from exporters.files.moment import DIRECTIVES
from pipeline.errors import Fatal

_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\{(\w+)(?::([^{}]+))?\}")
_WILD = {"**/": r"(?:.*/)?", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}
TIME = "time"


@dataclass(frozen=True)
class Pattern:
    """A path below a folder with *, ?, ** (any folders), {name} and {time:%Y%m%d}; a name is part of one folder's or
    file's name, and the same text wherever it stands again.
    """

    text: str

    def find(self, folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
        """The files below `folder` that fit, sorted: the path in it, with "/", and the text of each name.

        Raises `Fatal` for a folder that is not there and a pattern that cannot be read.
        """
        if not folder.is_dir():
            raise Fatal(f"{folder} is no folder; correct files.folder, which paths of layers are relative to.")
        if Path(self._root).is_absolute():
            raise Fatal(f"{self.text!r} is not relative to files.folder; leave out the folders before it.")
        expression = self._expression
        for path in _walk(folder, self._root):
            found = expression.fullmatch(path)
            if found:
                yield path, {name: text for name, text in found.groupdict().items() if text is not None}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names in braces."""
        return tuple(dict.fromkeys(name for name, _ in _TOKEN.findall(self.text) if name))

    @cached_property
    def time_form(self) -> str:
        """How a time is written, as `strptime` takes it; "" for ISO 8601 or no time."""
        return next((form for _, form in _TOKEN.findall(self.text) if form), "")

    @cached_property
    def _root(self) -> str:
        """The folders before the first that is not literal."""
        first = _TOKEN.search(self.text)
        literal = self.text[: first.start()] if first else self.text
        return literal.rpartition("/")[0]

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        parts, seen, end = [], set[str](), 0
        for token in _TOKEN.finditer(self.text):
            parts += [re.escape(self.text[end : token.start()]), self._part(token, seen)]
            end = token.end()
        return re.compile("".join([*parts, re.escape(self.text[end:])]))

    def _part(self, token: re.Match[str], seen: set[str]) -> str:
        name, form = token.groups()
        if name is None:
            return _WILD[token.group()]
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        if name.isdigit() or (form and name != TIME):
            raise Fatal(f"{token.group()} in {self.text!r} is not known; write a name, or {{time:%Y%m%d}}.")
        return f"(?P<{name}>{_form_expression(form) if form else '[^/]+'})"


def _form_expression(form: str) -> str:
    pieces = re.split(r"%(.)", form)
    unknown = [letter for letter in pieces[1::2] if letter not in DIRECTIVES]
    if unknown:
        known = ", ".join(f"%{letter}" for letter in DIRECTIVES)
        raise Fatal(f"%{unknown[0]} in {{time:{form}}} is not known; use {known}.")
    return "".join(DIRECTIVES[piece] if index % 2 else re.escape(piece) for index, piece in enumerate(pieces))


def _walk(folder: Path, below: str) -> Iterator[str]:
    """All files in a folder below `folder`, sorted by folder; paths relative to `folder` with "/"."""
    seen: set[str] = set()
    for here, folders, files in os.walk(folder / below, followlinks=True):
        seen.add(os.path.realpath(here))
        # A link to a folder that holds it would never end.
        folders[:] = sorted(name for name in folders if os.path.realpath(Path(here, name)) not in seen)
        prefix = Path(here).relative_to(folder).as_posix()
        yield from (name if prefix == "." else f"{prefix}/{name}" for name in sorted(files))


def filled(template: str, values: dict[str, str]) -> str | None:
    """The template with each {name} replaced by its value; None where a value is absent."""
    names = [name for name, _ in _TOKEN.findall(template) if name]
    if any(not values.get(name) for name in names):
        return None
    return _TOKEN.sub(lambda token: values[token.group(1)] if token.group(1) else token.group(), template)
