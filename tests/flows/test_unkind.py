"""A service as unkind as Earth Engine, which also fails in every twentieth request, changes no byte of a corpus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.flows.jobs import counters, differences, geocorpus, run_stages, sandbox, snapshot

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("unkind")]

PLACES = 300
KINDS = ("429", "500", "503", "memory", "capacity", "out of memory", "value", "timeout", "truncated", "reset")
FAULTS = [f"--fault={kind}={0.05 / len(KINDS)}" for kind in KINDS]


def settings(url: str, folder: Path) -> list[str]:
    return [
        f"corpus.folder={folder}", f"source.url={url}", "corpus.size_px=16", "corpus.shard_rows=64",
        f"sampling.locations={PLACES}", "corpus.modalities=['esa_worldcover', 'era5', 'eco_region']",
    ]  # fmt: skip


def export_until_whole(overrides: list[str]) -> None:
    """The same command again as long as it ends with chips that failed, as a person would."""
    for _ in range(5):
        outcome = geocorpus("export", "demo", *overrides)
        if outcome.returncode == 0:
            return
        assert outcome.returncode == 1, outcome.stderr
    pytest.fail(outcome.stderr)


def test_an_unkind_service_with_faults_changes_no_byte(tmp_path: Path) -> None:
    with sandbox("--kind", "--no-quotas") as url:
        run_stages(settings(url, tmp_path / "kind" / "c"))
    with sandbox(*FAULTS) as url:
        struck = settings(url, tmp_path / "struck" / "c")
        run_stages(struck, ("sample", "anchor"))
        export_until_whole(struck)
        run_stages(struck, ("finalize",))
        counted = counters(url)
    faults = sum(counted["faults"].values())
    assert faults > 10, json.dumps(counted["faults"])
    assert differences(snapshot(tmp_path / "struck" / "c"), snapshot(tmp_path / "kind" / "c")) == []
