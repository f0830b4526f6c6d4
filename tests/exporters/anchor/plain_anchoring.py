"""Anchoring as a person would write it down: a few objects for every location. Slow, large, and easy to believe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace

import numpy as np
import pandas as pd

from exporters import scenes
from exporters.anchor.anchor_rules import AnchorRules, Candidate
from exporters.anchor.outcomes import Outcome
from pipeline.chip import Acquisition, Chip, Scene
from pipeline.grid import Grid, mgrs_crs, utm_crs
from pipeline.location import Location
from pipeline.manifest import SPLITS


def rounds(
    locations: Sequence[Location], quotas: Mapping[str, int], results: Mapping[str, Outcome]
) -> tuple[list[list[str]], list[Location], list[Location], dict[str, int]]:
    """Ids asked about in each round; who fills the quotas; who was passed over before; what is lacking by stratum."""
    strata: dict[str, list[Location]] = {}
    for place in locations:
        if quotas.get(place.stratum, 0) > 0:
            strata.setdefault(place.stratum, []).append(place)
    asked: list[list[str]] = []
    while wanted := _round(strata, quotas, results, {each for batch in asked for each in batch}):
        asked.append(wanted)
    filling, passed_over = [], []
    lacking = {name: count for name, count in quotas.items() if count > 0}
    for name, members in strata.items():
        for place in members:
            if lacking[name] and place.id in {each for batch in asked for each in batch}:
                (passed_over if isinstance(results[place.id], str) else filling).append(place)
                lacking[name] -= not isinstance(results[place.id], str)
    return asked, filling, passed_over, {name: count for name, count in lacking.items() if count}


def _round(
    strata: Mapping[str, list[Location]], quotas: Mapping[str, int], results: Mapping[str, Outcome], tried: set[str]
) -> list[str]:
    wanted: list[str] = []
    for name, members in strata.items():
        done = [place for place in members if place.id in tried]
        usable = sum(not isinstance(results[place.id], str) for place in done)
        lacking = quotas[name] - usable
        if lacking > 0:
            surplus = math.ceil(lacking / ((usable + 1) / (len(done) + 1)) * (1.3 if done else 1.1))
            wanted += [place.id for place in members if place.id not in tried][:surplus]
    return wanted


def chip(place: Location, outcome: Outcome, split: str, rules: AnchorRules) -> Chip:
    """A location with its grid and its scenes."""
    assert not isinstance(outcome, str)
    crs = utm_crs(place.lonlat) if rules.own_zone else mgrs_crs(outcome.anchor.tile)
    anchor = _scene(scenes.OPTICAL[outcome.level], outcome.anchor)
    assert anchor is not None
    passes = {name: _scene(scenes.RADAR, scene) for name, scene in outcome.passes.items()}
    grid = Grid.around(place.lonlat, crs, rules.size_px)
    return Chip(place, grid, Acquisition(anchor, outcome.level, **passes), split)


def _scene(collection: str, candidate: Candidate | None) -> Scene | None:
    return candidate and Scene.at_ms(f"{collection}/{candidate.index}", candidate.time_ms)


def frozen(chips: Sequence[Chip], seed: int) -> list[Chip]:
    """By id, shuffled by the seed, splits one after the other."""
    ordered = sorted(chips, key=lambda chip: chip.location.id)
    shuffled = [ordered[index] for index in np.random.default_rng(seed).permutation(len(ordered))]
    grouped = [chip for split in SPLITS for chip in shuffled if chip.split == split]
    return [replace(chip, row=row) for row, chip in enumerate(grouped)]


def rejected(places: Sequence[Location], results: Mapping[str, Outcome]) -> pd.DataFrame:
    """One row per rejected location: its own fields, and the reason."""
    records = [asdict(place) | {"reason": results[place.id]} for place in places]
    return pd.DataFrame(records, columns=[*(field.name for field in fields(Location)), "reason"])
