"""Counts sum to n, follow areas, starve nobody, and survive the trip through JSON."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import Fatal
from sampling.allocation import (
    allocate,
    at_least_one_each,
    largest_remainder,
    read_allocation,
    write_allocation,
)
from tests.sampling.region_tables import strips

weights = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=40).map(np.array)


@given(weights, st.integers(0, 5000))
def test_largest_remainder_sums_and_stays_within_one(areas: np.ndarray, n: int) -> None:
    counts = largest_remainder(areas, n)
    shares = areas / areas.sum() * n
    assert counts.sum() == n
    assert np.all(np.abs(counts - shares) < 1 + 1e-6)


@given(weights, st.integers(0, 5000))
def test_larger_regions_never_get_fewer(areas: np.ndarray, n: int) -> None:
    ordered = at_least_one_each(areas, n)[np.argsort(areas, kind="stable")]
    assert np.all(np.diff(ordered) >= 0) or n < len(areas) or len(set(areas)) < len(areas)


@given(weights, st.integers(0, 5000))
def test_nobody_is_starved_where_n_allows(areas: np.ndarray, n: int) -> None:
    counts = at_least_one_each(areas, n)
    assert counts.sum() == n
    assert counts.min() >= (1 if n >= len(areas) else 0)


@given(weights, st.integers(0, 5000))
def test_counts_are_within_one_of_proportional_shares_lifted_to_one(areas: np.ndarray, extra: int) -> None:
    """The shares max(1, rate * area) that sum to n, with the rate found by bisection."""
    n = len(areas) + extra
    low, high = 0.0, n / areas.min()
    for _ in range(200):
        rate = (low + high) / 2
        low, high = (rate, high) if np.maximum(1, rate * areas).sum() < n else (low, rate)
    assert np.all(np.abs(at_least_one_each(areas, n) - np.maximum(1, high * areas)) < 1 + 1e-6)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.01, 5), st.integers(1, 14)), min_size=1, max_size=12),
    st.integers(1, 500),
)
def test_allocation_sums_to_n_and_is_level_over_biomes(cells: list[tuple[float, int]], n: int) -> None:
    allocation = allocate(strips([width for width, _ in cells], [biome for _, biome in cells]), n)
    per_biome = allocation.per_biome()
    assert allocation.total == n
    assert max(per_biome.values()) - min(per_biome.values()) <= 1


def test_within_a_biome_counts_follow_area() -> None:
    allocation = allocate(strips([1, 2, 5, 4], [1, 1, 1, 2]), 160)
    assert [quota.count for quota in allocation.quotas] == [10, 20, 50, 80]
    assert [math.isclose(quota.area_km2 / allocation.quotas[0].area_km2, want, rel_tol=1e-6)
            for quota, want in zip(allocation.quotas, [1, 2, 5, 4], strict=True)] == [True] * 4  # fmt: skip


def test_too_few_places_are_said() -> None:
    allocation = allocate(strips([1, 2, 5]), 2)
    assert [quota.count for quota in allocation.quotas] == [0, 1, 1]
    assert [quota.stratum for quota in allocation.empty_strata] == ["eco-001"]


def test_tiny_region_gets_one() -> None:
    assert [quota.count for quota in allocate(strips([0.001, 10]), 50).quotas] == [1, 49]


def test_no_places_are_refused() -> None:
    with pytest.raises(Fatal, match="at least 1"):
        allocate(strips([1]), 0)


def test_json_gives_the_same_allocation_back(tmp_path: Path) -> None:
    allocation = allocate(strips([1, 2.5, 5], [1, 3, 3]), 77)
    write_allocation(tmp_path / "allocation.json", allocation)
    assert read_allocation(tmp_path / "allocation.json") == allocation


def test_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "allocation.json").write_text('{"quotas": [{"nonsense": 1}]}')
    with pytest.raises(Fatal, match="allocation.json is damaged"):
        read_allocation(tmp_path / "allocation.json")
