"""A sample: the table of candidate locations with their splits, the quotas they fill, and what was passed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline import durable
from pipeline.manifest import SPLITS
from sampling.allocation import Allocation, Quota
from sampling.draw import Drawn
from sampling.dropped import Dropped
from sampling.regions import Regions
from sampling.splits import SplitRule

TEXT_COLUMNS = {"stratum": "stratum", "biome_name": "BIOME_NAME", "ecoregion_name": "ECO_NAME", "realm": "REALM"}
NUMBER_COLUMNS = {"biome": "BIOME_NUM", "ecoregion": "ECO_ID"}


@dataclass(frozen=True)
class Sample:
    """`table` has the columns of `Location` but the id, and `split`: candidates in order of preference by stratum.

    `refused` counts by reason the candidates passed over and replaced; `full` names strata without room for more;
    `notes` says what was repaired or left out, one sentence each. `dropped` lists the owner's points left out.
    """

    table: pd.DataFrame
    allocation: Allocation
    refused: Mapping[str, int] = field(default_factory=dict)
    full: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    dropped: Dropped | None = None

    def chosen(self) -> pd.DataFrame:
        """The rows that fill the quotas if every place has a usable scene: the first of each stratum."""
        quota = self.table["stratum"].map(self.allocation.counts).astype(np.int64)
        rank = self.table.groupby("stratum", observed=True).cumcount()
        return self.table[np.asarray(rank < np.asarray(quota))]

    def split_shares(self) -> str:
        """One sentence: how many of the chosen places are in each split."""
        counts = self.chosen()["split"].astype(str).value_counts().to_dict()
        percent = 100 / sum(counts.values())
        parts = [f"{counts[name]} {name} ({percent * counts[name]:.1f} %)" for name in SPLITS if name in counts]
        return f"Splits of the places: {', '.join(parts)}."

    def to_json(self) -> dict[str, Any]:
        """What happened, as plain data: counts, reasons, full strata, notes, and chosen places by split and stratum."""
        chosen = self.chosen()
        per_stratum = pd.crosstab(chosen["stratum"].astype(str), chosen["split"].astype(str))
        return {
            "candidates": len(self.table),
            "locations": self.allocation.total,
            "refused": dict(self.refused),
            "full": list(self.full),
            "notes": list(self.notes),
            "splits": {str(name): int(count) for name, count in per_stratum.sum().items()},
            "strata_by_split": per_stratum.to_dict("index"),
        }


def write_sample(path: Path, sample: Sample) -> None:
    """Publish `sample.json`."""
    durable.write_json(path, sample.to_json())


def sample_of(regions: Regions, drawn: Drawn, splits: SplitRule) -> Sample:
    """The table of what was drawn, each place with its region's names and its split."""
    frame = regions.frame
    lon, lat = drawn.lonlat.T
    columns: dict[str, Any] = {"lon": lon, "lat": lat}
    for name in ("stratum", "biome", "biome_name", "ecoregion", "ecoregion_name", "realm"):
        if name in NUMBER_COLUMNS:
            columns[name] = np.asarray(frame[NUMBER_COLUMNS[name]], dtype=np.int64)[drawn.row]
        else:
            columns[name] = _taken(np.asarray(frame[TEXT_COLUMNS[name]]), drawn.row)
    columns["split"] = pd.Categorical(splits.of(drawn.lonlat))
    refused = {reason: int(counts.sum()) for reason, counts in drawn.refused.items() if counts.any()}
    full = tuple(np.asarray(frame["stratum"])[drawn.full])
    return Sample(pd.DataFrame(columns), drawn.allocation, refused, full, _notes(regions, drawn))


def _taken(values: NDArray[Any], row: NDArray[np.int64]) -> pd.Categorical:
    codes, names = pd.factorize(values)
    return pd.Categorical.from_codes(codes[row], names)


def _notes(regions: Regions, drawn: Drawn) -> tuple[str, ...]:
    """What the regions said, and which strata got less than their share or nothing."""
    full = [quota for quota, is_full in zip(drawn.allocation.quotas, drawn.full, strict=True) if is_full]
    notes = list(regions.notes)
    if full:
        notes.append(f"{len(full)} strata have no room for their share, others took it: {_some(full)}.")
    empty = [quota for quota in full if not quota.count]
    if empty:
        notes.append(f"{len(empty)} of them have no room for a single footprint: {_some(empty)}.")
    return tuple(notes)


def _some(quotas: list[Quota], most: int = 5) -> str:
    names, more = [quota.name for quota in quotas], len(quotas) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
