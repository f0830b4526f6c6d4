"""`geocorpus status` beside a run in another process: at work, killed, failed, finished; and the run's own lines."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.progress.progress_file import PROGRESS, ProgressFile, Run, derived
from pipeline.lock import Holder, locked
from pipeline.progress import Silent, Snapshot
from tests.flows.jobs import geocorpus, run_stages, sandbox, start
from tests.flows.test_dead_letters import fail_next

whole_job = [pytest.mark.slow, pytest.mark.xdist_group("status")]


def status(folder: Path) -> dict[str, Any]:
    outcome = geocorpus("status", str(folder), "--json")
    assert outcome.returncode == 0, outcome.stderr
    return dict(json.loads(outcome.stdout))


def eventually(folder: Path, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first status of which this is true; gives up after a minute."""
    for _ in range(60):
        result = status(folder)
        if wanted(result):
            return result
    raise AssertionError(result)


class TestLive:
    """Progress that is kept."""

    def test_it_is_kept_by_the_one_who_holds_the_corpus_and_goes_with_it(self, tmp_path: Path) -> None:
        with ProgressFile(Silent(), tmp_path) as progress:
            progress.start("export", 10)
            assert Run.of(tmp_path) is None, "another run may hold the corpus"
            with locked(tmp_path):
                progress.start("export", 10, 2)
                run = Run.of(tmp_path)
                assert run is not None and run.is_live and run.holder == Holder.me()
                assert (run.snapshot.stage, run.snapshot.done, run.snapshot.total) == ("export", 2, 10)
        assert not list(tmp_path.iterdir())

    def test_what_a_killed_run_left_goes_and_another_runs_stays(self, tmp_path: Path) -> None:
        gone = {"host": Holder.me().host, "pid": Holder.me().pid, "started": "0"}
        other = {"host": "elsewhere", "pid": 7, "started": "0"}
        for holder, stays in ((gone, False), (other, True)):
            data = {"holder": holder, "updated_at": time.time(), "snapshot": {"stage": "export", "done": 1, "total": 2}}
            (tmp_path / PROGRESS).write_text(json.dumps(data))
            run = Run.of(tmp_path)
            assert run is not None and run.is_live is stays
            with ProgressFile(Silent(), tmp_path):
                pass
            assert (tmp_path / PROGRESS).exists() is stays

    def test_a_run_elsewhere_that_is_silent_is_taken_for_gone(self) -> None:
        holder, snapshot = Holder("elsewhere", 7, "0"), Snapshot("export", 1, 2)
        assert Run(holder, time.time() - 10, snapshot).is_live
        assert not Run(holder, time.time() - 3600, snapshot).is_live

    def test_a_damaged_file_is_no_run(self, tmp_path: Path) -> None:
        for content in ("", "{", "[]", '{"holder": 3}', '{"holder": {}, "updated_at": 1, "snapshot": {}}'):
            (tmp_path / PROGRESS).write_text(content)
            assert Run.of(tmp_path) is None

    def test_what_follows_is_told_by_its_unit(self) -> None:
        snapshot = Snapshot("export", 5, 10, 2.0, 2.5, 1.0004, {"requests": 5})
        assert derived(snapshot) == {"chips_per_s": 2.0, "left_s": 2.5, "requests_per_chip": 1.0}
        assert derived(Snapshot("anchor", 5, 10, 2.0)) == {"per_s": 2.0}


class TestBesideARun:
    """The real commands, each in a process of its own."""

    pytestmark = whole_job

    def test_it_is_seen_while_it_works_and_after_it_was_killed(self, tmp_path: Path) -> None:
        folder = tmp_path / "c"
        with sandbox("--latency", "0.4") as url:
            settings = [
                f"corpus.folder={folder}", f"source.url={url}", "source.concurrency=1", "corpus.size_px=16",
                "corpus.shard_rows=4", "sampling.locations=40", "corpus.modalities=['esa_worldcover']",
            ]  # fmt: skip
            run_stages(settings, ("sample", "anchor"))
            process = start("export", "demo", *settings, "--json")
            try:
                seen = eventually(folder, lambda now: now["running"] and now["run"]["snapshot"]["done"] > 16)
            finally:
                process.send_signal(signal.SIGKILL)
            _, said = process.communicate(timeout=30)
            run = seen["run"]
            assert run["holder"]["pid"] == process.pid
            assert run["snapshot"]["stage"] == "export" and run["snapshot"]["total"] == seen["chips"]
            assert 0 < run["snapshot"]["per_s"] < 3 and run["snapshot"]["left_s"] > 0
            assert run["snapshot"]["figures"]["at_once"] == 1
            last = json.loads(said.splitlines()[-1])
            assert last["chips_per_s"] > 0 and last["left_s"] > 0 and last["requests_per_chip"] > 0
            gone = status(folder)
            assert gone["run"] and not gone["running"] and gone["next"] == "export"
            assert "is gone" in geocorpus("status", str(folder)).stdout
            run_stages([*settings, "source.concurrency=20"], ("export",))
            done = status(folder)
            assert done["run"] is None and not done["running"] and done["next"] == "finalize"

    def test_what_was_given_up_is_counted_by_reason(self, tmp_path: Path) -> None:
        folder = tmp_path / "c"
        with sandbox() as url:
            settings = [
                f"corpus.folder={folder}", f"source.url={url}", "source.attempts=1", "corpus.size_px=16",
                "corpus.shard_rows=8", "sampling.locations=8", "corpus.modalities=['esa_worldcover']",
            ]  # fmt: skip
            run_stages(settings, ("sample", "anchor"))
            fail_next(url, 3)
            outcome = geocorpus("export", "demo", *settings, "--json")
            assert outcome.returncode == 1
            told = [json.loads(line) for line in outcome.stderr.splitlines()[:-1]]
            assert told[-1]["given_up"] == "3 Transient"
            result = status(folder)
            assert sum(result["failed"].values()) == 3 and len(result["failed"]) == 1
            assert "3 locations were given up" in geocorpus("status", str(folder)).stdout
            assert geocorpus("retry", str(folder)).returncode == 0
            assert status(folder)["failed"] == {}
