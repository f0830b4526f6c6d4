"""The strategies that allocate locations to regions: the weight of each group, and of each region in its group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import Fatal, unknown_name
from sampling.regions import Regions

BIOMES, BIOMES_EQUAL, ECOREGIONS, LAND, COLUMN = "biomes", "biomes-equal", "ecoregions", "land", "column"
STRATEGIES = (BIOMES, BIOMES_EQUAL, ECOREGIONS, LAND, COLUMN)


@dataclass(frozen=True)
class Weights:
    """`group` (regions,) is the index of each region's group in `group_weight` (groups,).

    `member_weight` (regions,) is the weight of each region in its group.
    """

    group: NDArray[np.int64]
    group_weight: NDArray[np.float64]
    member_weight: NDArray[np.float64]

    @property
    def used(self) -> NDArray[np.bool_]:
        """Which regions can get locations: (regions,) bool."""
        return np.asarray((self.member_weight > 0) & (self.group_weight[self.group] > 0))


def weigh(
    regions: Regions, strategy: str = BIOMES, column: str = "", weights: Mapping[str, float] | None = None
) -> Weights:
    """The weights of a strategy. The first three are those that MMEarth describes (Nedungadi et al. 2024).

    biomes: uniform over biomes, ecoregions by area. biomes-equal: uniform over biomes, ecoregions equal.
    ecoregions: uniform over ecoregions. land: by area alone. column: groups are the values of `column`, weighted by
    `weights` (equally without any), and regions in a group by area. Raises `Fatal` for an unknown strategy, a
    column that is absent, and weights that do not fit its values.
    """
    area_km2 = np.asarray(regions.frame["area_km2"], dtype=np.float64)
    equal = np.ones(len(regions))
    if strategy in (ECOREGIONS, LAND):
        member = equal if strategy == ECOREGIONS else area_km2
        return Weights(np.zeros(len(regions), dtype=np.int64), np.ones(1), member)
    if strategy in (BIOMES, BIOMES_EQUAL):
        present, group = np.unique(np.asarray(regions.frame["BIOME_NUM"]), return_inverse=True)
        return Weights(group, np.ones(len(present)), area_km2 if strategy == BIOMES else equal)
    if strategy == COLUMN:
        return _by_column(regions, area_km2, column, weights or {})
    raise unknown_name("sampling strategy", strategy, STRATEGIES)


def _by_column(regions: Regions, area_km2: NDArray[Any], column: str, weights: Mapping[str, float]) -> Weights:
    if column not in regions.frame.columns:
        known = ", ".join(str(name) for name in regions.frame.columns if name != "geometry")
        raise Fatal(f"the regions have no column {column!r} to stratify by; they have {known}.")
    values, group = np.unique([_text(value) for value in regions.frame[column]], return_inverse=True)
    return Weights(group.astype(np.int64), _weights_of(values.tolist(), column, weights), area_km2)


def _weights_of(values: list[str], column: str, weights: Mapping[str, float]) -> NDArray[np.float64]:
    if not weights:
        return np.ones(len(values))
    # A weight of 0 leaves out what the table may have lost already, such as RESOLVE's Rock and Ice.
    unknown = sorted(value for value in set(weights) - set(values) if weights[value])
    if unknown:
        raise unknown_name(f"value of column {column}", unknown[0], values)
    absent = [value for value in values if value not in weights]
    if absent:
        raise Fatal(f"sampling.weights lacks {column} = {absent[0]!r}; give it a weight, or 0 to leave it out.")
    result = np.array([float(weights[value]) for value in values])
    if (result < 0).any() or not np.isfinite(result).all() or not result.any():
        raise Fatal("sampling.weights must be 0 or more, with one above 0; correct them.")
    return result


def _text(value: Any) -> str:
    """A value as a key of the weights: whole numbers without a decimal point, and an empty text for an absent value."""
    if value is None or (np.isscalar(value) and pd.isna(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
