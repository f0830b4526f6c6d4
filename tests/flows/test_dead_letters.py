"""A chip that cannot be had: the run goes on, ends with code 1 and one sentence, and `retry` takes it up."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from tests.flows.jobs import differences, geocorpus, run_stages, sandbox, snapshot

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("dead letters")]


def fail_next(url: str, count: int) -> None:
    body = json.dumps({"faults": [{"kind": "503", "endpoint": "image:computePixels", "next": count}]}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{url}/sandbox/faults", body, method="POST")).close()


def test_what_was_given_up_is_said_listed_and_taken_up_again(tmp_path: Path) -> None:
    with sandbox() as url:

        def settings(name: str) -> list[str]:
            return [
                f"corpus.folder={tmp_path / name / 'c'}", f"source.url={url}", "source.attempts=1", "corpus.size_px=16",
                "corpus.shard_rows=4", "sampling.locations=10", "corpus.modalities=['esa_worldcover', 'lat']",
            ]  # fmt: skip

        run_stages(settings("whole"))
        run_stages(settings("broken"), ("sample", "anchor"))
        fail_next(url, 2)
        outcome = geocorpus("export", "demo", *settings("broken"))
        assert outcome.returncode == 1
        said = [line for line in outcome.stderr.splitlines() if not line.startswith("export:")]
        assert len(said) == 1 and "could not be pulled" in said[0] and "geocorpus retry" in said[0]
        assert list((tmp_path / "broken" / "c" / "failed").glob("*.json"))
        again = geocorpus("retry", str(tmp_path / "broken" / "c"))
        assert again.returncode == 0, again.stderr
        assert "lacks esa_worldcover" in again.stderr
        run_stages(settings("broken"), ("finalize",))
    assert differences(snapshot(tmp_path / "broken" / "c"), snapshot(tmp_path / "whole" / "c")) == []
