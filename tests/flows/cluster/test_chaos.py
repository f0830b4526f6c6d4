"""Workers, scheduler and main process killed at random: `benchmarks.chaos`, short."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos import Plan, chaos

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("cluster")]


def test_whatever_dies_the_corpus_is_the_same(tmp_path: Path) -> None:
    # 192 chips at 16 a second take longer than two deaths let pass.
    plan = Plan(chips=192, shard_rows=32, cap=4, latency_s=0.25, every_s=4.0, for_s=6.0, kills_at_least=2, seed=5)
    outcome = chaos(plan, tmp_path)
    assert outcome.kills.total() >= 2
    assert outcome.differing == []
    assert outcome.peak <= plan.cap
    # What was in flight, and what had come to the two workers and was not kept yet.
    assert outcome.again <= outcome.kills.total() * (plan.cap + 8)
    assert not [said for said in outcome.said if "unexpected" in said], "every end that nobody forced is a sentence"
