"""Progress as Prefect artifacts: told to a server now and then, and no matter when there is none."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.prefect_runs import prefect_server
from flows.prefect_runs.artifacts import Artifacts, rows
from flows.progress.progress_file import ProgressFile
from pipeline.progress import Silent, Snapshot


class Saying(Silent):
    """Remembers what is said, and lets a test wait for it."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.spoke = threading.Event()

    def say(self, sentence: str) -> None:
        self.said.append(sentence)
        self.spoke.set()


def test_a_line_per_figure_and_what_follows_from_them() -> None:
    snapshot = Snapshot("export", 1500, 6000, 25.0, 180.0, 1.01, {"requests": 1515, "at_once": 20})
    assert {row["figure"]: row["value"] for row in rows(snapshot)} == {
        "done": "1,500 of 6,000", "requests": "1515", "at once": "20",
        "chips per s": "25.0", "left s": "180.0", "requests per chip": "1.01",
    }  # fmt: skip


def test_a_server_that_is_not_there_costs_the_work_nothing() -> None:
    saying = Saying()
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        with Artifacts(lambda: Snapshot("export", 1, 2), saying, every_s=0.01) as artifacts:
            assert saying.spoke.wait(60)
            artifacts._sender.join(10)
    assert len(saying.said) == 1 and "the work goes on" in saying.said[0]


@pytest.mark.slow
@pytest.mark.xdist_group("prefect")
def test_a_flow_run_has_a_bar_and_a_table_that_are_updated(tmp_path: Path) -> None:
    saying, runs, stage = Saying(), [], "labels: tree_cover"

    @flow
    def work() -> None:
        runs.append(flow_run.id)
        with ProgressFile(saying, tmp_path) as progress:
            progress.start(stage, 200, 50)
            with Artifacts(progress.snapshot, progress, every_s=0.05) as artifacts:
                while stage not in artifacts._created:
                    artifacts._stopped.wait(0.05)
                progress.advance(100)
                progress.note(requests=101)

    with prefect_server.running() as server, server.reached():
        work()
        with get_client(sync_client=True) as client:
            # Other tests of this process tell the same server, which keeps a history.
            kept = [artifact for artifact in client.read_artifacts() if str(artifact.flow_run_id) in runs]
    result = {artifact.key: artifact for artifact in kept}
    assert saying.said == []
    assert set(result) == {"geocorpus-labels-tree-cover", "geocorpus-labels-tree-cover-figures"}
    assert float(str(result["geocorpus-labels-tree-cover"].data)) == 75.0
    table = {row["figure"]: row["value"] for row in json.loads(str(result["geocorpus-labels-tree-cover-figures"].data))}
    assert table["done"] == "150 of 200" and table["requests"] == "101"
