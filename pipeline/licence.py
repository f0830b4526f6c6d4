"""The licence of a layer's source, and the words with which its makers are to be named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

YEARS = "[years]"  # stands in an attribution for the years that a corpus is of


@dataclass(frozen=True)
class Licence:
    """`name` is the SPDX identifier ("CC-BY-4.0"), or for a licence without one its name in words.

    `url` is where its text is. `attribution` is what whoever passes the layer on has to write; `YEARS` in it stands for
    the years of the images.
    """

    name: str
    url: str = ""
    attribution: str = ""

    @property
    def identifier(self) -> str | None:
        """The SPDX identifier; None for a licence that has only a name."""
        return None if " " in self.name else self.name

    def attributes(self) -> dict[str, str]:
        """Attributes of a layer's array, as plain text, which every format holds."""
        named = {"license": self.name, "license_url": self.url, "attribution": self.attribution}
        return {key: text for key, text in named.items() if text}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> Self | None:
        """What `attributes` gave; None where there is none."""
        name, url, attribution = (attributes.get(key, "") for key in ("license", "license_url", "attribution"))
        return cls(str(name), str(url), str(attribution)) if name else None

    def of_years(self, first: int, last: int) -> Self:
        """The same with the years written out."""
        years = str(first) if first == last else f"{first}-{last}"
        return replace(self, attribution=self.attribution.replace(YEARS, years))


def cc_by_4(attribution: str) -> Licence:
    """Creative Commons Attribution 4.0, of whom `attribution` names."""
    return Licence("CC-BY-4.0", "https://creativecommons.org/licenses/by/4.0/", attribution)


# Of layers that follow from a chip's place and date: nobody else has made them.
OWN = Licence("as the corpus itself")
UNKNOWN = Licence("unknown: ask its maker")


def common_identifier(licences: Iterable[Licence | None]) -> str | None:
    """The SPDX identifier that all `licences` but `OWN` have; None where they differ or one has none."""
    identifiers = {licence.identifier if licence else None for licence in licences if licence != OWN}
    return identifiers.pop() if len(identifiers) == 1 else None
