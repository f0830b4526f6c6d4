"""`geocorpus status` beside a run in another process: at work, killed, failed, finished; and the run's own lines."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from exporters.quality.inspection import inspect
from flows.progress.progress_file import PROGRESS, ProgressFile, Run, derived
from flows.terminal.status import Status, read_status, show
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.holder import Holder
from pipeline.lock import LOCK, holder_of, locked
from pipeline.observed import Channel, Observed
from pipeline.progress import Silent, Snapshot
from tests.flows.jobs import geocorpus, run_stages, sandbox, start
from tests.flows.test_dead_letters import fail_next
from tests.pipeline.chips import OPTICAL, make_block, make_manifest
from tests.pipeline.damage import finished_corpus

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


class TestNextStep:
    """What is said to come next."""

    def test_a_corpus_that_was_not_sampled_here_goes_on_with_what_it_lacks(self, tmp_path: Path) -> None:
        finished_corpus(tmp_path)
        assert read_status(tmp_path).next_step == "pretrain"
        make_manifest(tmp_path / "other", 5, 16)
        assert read_status(tmp_path / "other").next_step == "export"

    @pytest.mark.parametrize("lost", ["corpus.zarr/zarr.json", "corpus.zarr"])
    def test_a_lost_store_is_not_taken_for_one_that_was_never_made(self, tmp_path: Path, lost: str) -> None:
        finished_corpus(tmp_path)
        (tmp_path / lost).rename(tmp_path / "elsewhere")
        for look in (read_status, Corpus.open):
            with pytest.raises(Fatal, match="lost its zarr.json, though shards are finished.*geocorpus verify"):
                look(tmp_path)


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

    def test_the_folder_that_was_made_for_it_goes_where_nothing_came_of_it(self, tmp_path: Path) -> None:
        folder = tmp_path / "new" / "corpus"
        with ProgressFile(Silent(), folder) as progress, locked(folder):
            progress.start("sample", 10)
            assert Run.of(folder) is not None
        assert not (tmp_path / "new").exists()

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


class TestHolder:
    """Who holds the corpus, also without any progress to show."""

    @pytest.mark.parametrize(
        ("holder", "words"),
        [
            (Holder.me(), f"held by process {Holder.me().pid} on {Holder.me().host}"),
            (replace(Holder.me(), started="0"), "which is gone; the next command takes over"),
            (Holder("node7", 7, "0", "another"), "held by process 7 on node7, another host: the next command waits"),
        ],
        ids=["alive", "gone", "elsewhere"],  # a process id would differ between the workers that collect the tests
    )
    def test_it_is_named(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], holder: Holder, words: str) -> None:
        (tmp_path / LOCK).write_text(json.dumps(asdict(holder) | {"token": "t", "beat": "0"}))
        show(Status(str(tmp_path), holder=holder_of(tmp_path)), as_json=False)
        assert words in " ".join(capsys.readouterr().out.split())


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
            assert seen["holder"]["pid"] == process.pid
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


def test_scenes_are_told_by_pass_and_polarisation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layer = replace(
        OPTICAL, observed=Observed((Channel("red", "descending", "VV"), Channel("green", "descending", "VH")))
    )
    make_manifest(tmp_path, 6)
    corpus = Corpus.create(tmp_path, [layer], 6)
    block = make_block(layer, 6, 16, seed=1)
    pinned = [chip.row for chip in corpus.manifest if chip.acquisition.descending]
    block[[row for row in range(6) if row not in pinned]] = layer.nodata
    block[pinned[1:], 1] = layer.nodata
    found = inspect(corpus, corpus.shards[0], {layer.name: block}, {layer.name: {}})[layer.name]
    corpus.write(corpus.shards[0], layer.name, block, {}, found)
    status = read_status(tmp_path)
    show(status, as_json=False)
    words = f"optical, descending: {len(pinned)} of 6 chips have a scene; VV {len(pinned)} of {len(pinned)}, VH 1 of 1"
    assert words in " ".join(capsys.readouterr().out.split())
    show(status, as_json=True)
    told = json.loads(capsys.readouterr().out)["layers"]["optical"]["scenes"]["descending"]
    assert (told["chips"], told["pinned"], told["polarisations"]["VH"]["data"]) == (6, len(pinned), 1)
