"""Filling the quota of every stratum with locations that a scene serves, round by round."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import pandas as pd

from exporters.anchor.anchor_rules import AnchorRules
from exporters.anchor.scene_search import Outcome, Rejected, SceneSearch
from exporters.earth_engine.client import EarthEngine
from pipeline.chip import Chip
from pipeline.location import Location, by_stratum
from pipeline.progress import Progress

_FIRST_SURPLUS = 1.1
_LATER_SURPLUS = 1.3


@dataclass(frozen=True)
class Anchored:
    """The chips that fill the quotas, what was passed over on the way, and how many are lacking per stratum."""

    chips: list[Chip]
    rejected: list[Rejected]
    shortfalls: dict[str, int] = field(default_factory=dict)

    def rejected_frame(self) -> pd.DataFrame:
        """One row per rejected location: the location's own columns, and the reason."""
        names = [each.name for each in fields(Location)]
        records = [asdict(item.location) | {"reason": item.reason} for item in self.rejected]
        return pd.DataFrame(records, columns=[*names, "reason"])


def anchor(
    engine: EarthEngine,
    locations: Sequence[Location],
    quotas: Mapping[str, int],
    rules: AnchorRules,
    parts_folder: Path,
    progress: Progress,
) -> Anchored:
    """For every stratum the first `quota` locations, in their order, that a scene serves.

    The result depends on the locations, quotas and rules alone; answers are kept in `parts_folder`, batch by
    batch, so that a run that was killed asks nothing twice.
    """
    strata = {name: result for name, result in by_stratum(locations).items() if quotas.get(name, 0) > 0}
    search = SceneSearch(engine, rules, parts_folder)
    outcomes: dict[str, Outcome] = {}
    shown, total = 0, sum(quotas.values())
    progress.start("anchor", total)
    while wanted := _next_round(strata, quotas, outcomes):
        for part in search.query(wanted):
            outcomes |= part
            usable = sum(isinstance(outcome, Chip) for outcome in part.values())
            # A surplus is tried, so what is shown stops at the total.
            progress.advance(min(usable, total - shown))
            shown = min(shown + usable, total)
            progress.note(requests=engine.figures().requests, tried=len(outcomes))
    return _result(strata, quotas, outcomes)


def _next_round(
    strata: Mapping[str, Sequence[Location]], quotas: Mapping[str, int], outcomes: Mapping[str, Outcome]
) -> list[Location]:
    """The candidates to try next: per stratum as many as probably fill what is lacking, from what came so far."""
    chosen = []
    for name, candidates in strata.items():
        tried = [location for location in candidates if location.id in outcomes]
        usable = sum(isinstance(outcomes[location.id], Chip) for location in tried)
        wanted = _surplus(quotas[name] - usable, len(tried), usable)
        untried = [location for location in candidates if location.id not in outcomes]
        chosen += untried[:wanted]
    return chosen


def _surplus(lacking: int, tried: int, usable: int) -> int:
    """A few more than are lacking, by the stratum's own rate of success: another round costs whole requests."""
    if lacking <= 0:
        return 0
    rate = (usable + 1) / (tried + 1)
    return math.ceil(lacking / rate * (_LATER_SURPLUS if tried else _FIRST_SURPLUS))


def _usable(candidates: Sequence[Location], outcomes: Mapping[str, Outcome]) -> Iterator[Outcome]:
    """Outcomes in the stratum's order, up to the first location that was not tried."""
    for location in candidates:
        if location.id not in outcomes:
            return
        yield outcomes[location.id]


def _result(
    strata: Mapping[str, Sequence[Location]], quotas: Mapping[str, int], outcomes: Mapping[str, Outcome]
) -> Anchored:
    chips: list[Chip] = []
    rejected: list[Rejected] = []
    shortfalls = {name: quota for name, quota in quotas.items() if quota > 0 and name not in strata}
    for name, candidates in strata.items():
        lacking = quotas[name]
        for outcome in _usable(candidates, outcomes):
            if lacking == 0:
                break
            if isinstance(outcome, Chip):
                chips.append(outcome)
                lacking -= 1
            else:
                rejected.append(outcome)
        if lacking:
            shortfalls[name] = lacking
    return Anchored(chips, rejected, shortfalls)
