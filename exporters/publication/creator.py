"""Who made a data set: a person, written "Family, Given", or a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict


@dataclass(frozen=True)
class Creator:
    """`name` is "Family, Given" of a person, and of a group its name; `orcid` is as in https://orcid.org/ORCID."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    orcid: str = ""
    affiliation: str = ""

    @property
    def family_given(self) -> tuple[str, str] | None:
        """The names of a person; None for a group."""
        family, comma, given = (part.strip() for part in self.name.partition(","))
        return (family, given) if comma else None

    @property
    def spoken(self) -> str:
        """The name as it is spoken: "Given Family"."""
        return " ".join(reversed(self.family_given)) if self.family_given else self.name

    def citation(self) -> dict[str, str]:
        """As `CITATION.cff` has it."""
        names = dict(zip(("family-names", "given-names"), self.family_given or (), strict=False)) or {"name": self.name}
        more = {"orcid": self.orcid and f"https://orcid.org/{self.orcid}", "affiliation": self.affiliation}
        return names | {key: text for key, text in more.items() if text}

    def croissant(self) -> dict[str, Any]:
        """As schema.org has it."""
        known = {"@type": "sc:Person" if self.family_given else "sc:Organization", "name": self.spoken}
        return known | ({"sameAs": f"https://orcid.org/{self.orcid}"} if self.orcid else {})
