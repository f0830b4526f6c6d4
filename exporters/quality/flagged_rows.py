"""Which chips of a shard were flagged when it was written, and for what: read from the findings in its ledger entry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from exporters.quality.inspection import varies_everywhere
from pipeline.modality import Modality

Kind = Literal["constant", "lost", "partial", "polarisation", "noise"]
TITLES: dict[Kind, str] = {
    "constant": "constant", "lost": "scene lost", "partial": "scene in part", "polarisation": "polarisation lost",
    "noise": "noise beyond an edge",
}  # fmt: skip
_OF_SCENES: tuple[Kind, ...] = ("lost", "partial", "polarisation")


@dataclass(frozen=True)
class FlaggedRows:
    """Manifest rows flagged for one thing; `what` says where: a pass, a pass and a polarisation, or all bands.

    `chips` is how many there are; entries of older releases name the first 16 `rows` of them only.
    """

    kind: Kind
    what: str
    chips: int
    rows: tuple[int, ...]

    @property
    def are_all_named(self) -> bool:
        """Whether every flagged row is in `rows`."""
        return len(self.rows) >= self.chips


def kinds_of(modality: Modality) -> tuple[Kind, ...]:
    """The flags that chips of a layer can have, by its specification; none for most layers."""
    channels = modality.observed.channels if modality.observed else ()
    constant: tuple[Kind, ...] = ("constant",) if varies_everywhere(modality) else ()
    noise: tuple[Kind, ...] = ("noise",) if any(each.noise_floor is not None for each in channels) else ()
    return (*constant, *(_OF_SCENES if channels else ()), *noise)


def flagged_rows(findings: Mapping[str, Any]) -> Iterator[FlaggedRows]:
    """What the `quality` of a ledger entry flags, each with a chip or more."""
    for item in _all(findings):
        if item.chips:
            yield item


def _all(findings: Mapping[str, Any]) -> Iterator[FlaggedRows]:
    if "constant" in findings:
        yield _of("constant", "all bands", findings["constant"])
    for role, found in findings.get("scenes", {}).items():
        yield _of("lost", role, found["lost"])
        yield _of("partial", role, found["partial"])
        for item in found["polarisations"]:
            yield _of("polarisation", f"{role} {item['name']}", item["lost"])
            yield _of("noise", f"{role} {item['name']}", item["noise"])


def _of(kind: Kind, what: str, tally: Mapping[str, Any]) -> FlaggedRows:
    return FlaggedRows(kind, what, tally["chips"], tuple(tally["rows"]))
