"""What a publisher says of a data set: its title, people, version, licence and address; from `publish.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from exporters.publication.creator import Creator
from pipeline.errors import Fatal, unknown_name
from pipeline.licence import Licence

_NEEDED = ("title", "creators", "licence", "url")
_DOI = re.compile(r"10\.\d{4,9}/\S+")
_VERSION = re.compile(r"\d+(\.\d+){1,2}([-+.][0-9A-Za-z.-]+)?")


def _today() -> date:
    return datetime.now(UTC).date()


@dataclass(frozen=True)
class About:
    """`licence` is the SPDX identifier for what the publisher has made: the choice of places, and columns of theirs.

    `layers` gives the licences of layers by name, before what is known of them otherwise. `columns` names those of the
    owner's columns that are published; none without it.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    title: str
    creators: tuple[Creator, ...]
    licence: str
    url: str
    version: str = "1.0.0"
    description: str = ""
    published: date = field(default_factory=_today)
    doi: str = ""
    keywords: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    layers: Mapping[str, Licence] = field(default_factory=dict)

    @property
    def citation(self) -> str:
        """How the data set is named in a text: its people, year, title, version and lasting address."""
        names = ", ".join(creator.spoken for creator in self.creators)
        address = f"https://doi.org/{self.doi}" if self.doi else self.url
        return f"{names} ({self.published.year}): {self.title}, version {self.version}. {address}"

    def __post_init__(self) -> None:
        for wrong, sentence in _refusals(self):
            if wrong:
                raise Fatal(f"{sentence}.")


def _refusals(about: About) -> list[tuple[bool, str]]:
    return [
        (not about.creators, "a data set needs a creator; give --creator 'Family, Given' or the name of a group"),
        (not _VERSION.fullmatch(about.version), f"version {about.version!r} is none; write for example 1.0.0"),
        (bool(about.doi) and not _DOI.fullmatch(about.doi),
         f"doi {about.doi!r} is none; write for example 10.5281/zenodo.1"),
        (not about.url.startswith(("https://", "http://")), f"url {about.url!r} is no address; begin it with https://"),
        (" " in about.licence, f"licence {about.licence!r} is no SPDX identifier; write for example CC-BY-4.0"),
    ]  # fmt: skip


def read_about(path: Path | None, given: Mapping[str, Any]) -> About:
    """What stands in a TOML file, if there is one, with what is `given` in its place.

    Raises `Fatal` for a file that cannot be read, an unknown key, and something that is needed and not said.
    """
    said = (_read(path) if path else {}) | dict(given)
    known = [item.name for item in fields(About)]
    for key in said:
        if key not in known:
            raise unknown_name(f"key of {path}", key, known)
    missing = [key for key in _NEEDED if not said.get(key)]
    if missing:
        options = " ".join(f"--{key.removesuffix('s')} ..." for key in missing)
        where = path or "publish.toml in the corpus"
        raise Fatal(f"a data set needs {', '.join(missing)}; give {options}, or write them to {where}.")
    try:
        return TypeAdapter(About).validate_python(said)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Fatal(f"{path or 'what is given'}: {where} is wrong ({first['msg'].lower()}); correct it.") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Fatal(f"{path} cannot be read as TOML ({error}); mend it, or give another with --about.") from error
