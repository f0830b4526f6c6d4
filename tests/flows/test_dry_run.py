"""`export --dry-run`: checks, a pilot, an estimate, and not a byte written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.jobs import counters, geocorpus, reset, run_stages, sandbox, snapshot

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("dry run")]


def test_a_dry_run_estimates_and_writes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    with sandbox() as url:
        ours = [
            f"corpus.folder={folder}", f"source.url={url}", "corpus.size_px=16", "corpus.shard_rows=4",
            "sampling.locations=10", "corpus.modalities=['esa_worldcover', 'era5', 'lat']",
        ]  # fmt: skip
        early = geocorpus("export", "demo", *ours, "--dry-run")
        assert early.returncode == 2 and "manifest.parquet does not exist" in early.stderr
        assert not folder.exists()
        run_stages(ours, ("sample", "anchor"))
        before = snapshot(folder)
        reset(url)
        outcome = geocorpus("export", "demo", *ours, "--dry-run")
        assert outcome.returncode == 0, outcome.stderr
        told = ("exist and can be read", "8 chips, 8 pixel requests", "13 (1.300 a chip)", "by the pilot's profiles")
        assert all(said in outcome.stdout for said in told), outcome.stdout
        assert snapshot(folder) == before
        assert counters(url)["requests"]["image:computePixels"] == 8
        run_stages(ours, ("export",))
        assert "Nothing is missing" in geocorpus("export", "demo", *ours, "--dry-run").stdout
