"""`export --dry-run`: checks, a pilot, an estimate, and not a byte written."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

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
        said_in_words(geocorpus("export", "demo", *ours, "--dry-run"))
        reset(url)
        told = json.loads(geocorpus("export", "demo", *ours, "--dry-run", "--json").stdout)
        assert told["folder"] == str(folder)
        said_as_json(told)
        assert counters(url)["requests"]["image:computePixels"] == 9 + 1
        assert snapshot(folder) == before
        run_stages(ours, ("export",))
        assert "Nothing is missing" in geocorpus("export", "demo", *ours, "--dry-run").stdout
        assert json.loads(geocorpus("export", "demo", *ours, "--dry-run", "--json").stdout)["chips"] == 0


def said_in_words(outcome: CompletedProcess[str]) -> None:
    assert outcome.returncode == 0, outcome.stderr
    words = (
        "2 of 2 layers of one chip agree with stored pixels",
        "exist and can be read",
        "8 chips, 8 pixel requests",
        "13 (1.300 a chip)",
        "by the pilot's profiles",
    )
    assert all(said in outcome.stdout for said in words), outcome.stdout


def said_as_json(told: dict[str, Any]) -> None:
    assert (told["done"], told["chips"], told["requests"]) == ("Nothing was written.", 10, 13)
    assert told["pilot"]["chips"] == 8 and told["eecu_h"] > 0 and set(told["months"]) >= {"Community"}
    assert not any(isinstance(fact, str) and "\n" in fact for fact in told.values())
    assert set(told["layers"]) == {"esa_worldcover", "era5"}
    assert sum(layer["saves_eecu_h"] for layer in told["layers"].values()) == pytest.approx(told["eecu_h"])
