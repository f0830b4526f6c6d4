"""The flows on a Prefect server of its own: deployed to a work pool and run by a worker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.prefect_runs import prefect_server
from flows.prefect_runs.deploy import deploy
from flows.settings import load
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.flows.jobs import ROOT, differences, geocorpus, run_stages, sandbox, snapshot
from tests.rivals import command, rivals


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server with a process pool, in a home of its own."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        with prefect_server.running() as server:
            environment.setenv("PREFECT_API_URL", server.url)
            environment.setenv("PREFECT_API_AUTH_STRING", server.auth_string)
            prefect("work-pool", "create", "lab", "--type", "process")
            yield server.url


def prefect(*arguments: str, cwd: Path = ROOT) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("prefect")), *arguments], cwd=cwd, text=True, capture_output=True,
        timeout=240, env={**os.environ, "PREFECT_LOGGING_LEVEL": "INFO", "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def settings(url: str, folder: Path) -> list[str]:
    return [
        f"corpus.folder={folder}", f"source.url={url}", "source.concurrency=4", "corpus.size_px=32",
        "corpus.shard_rows=8", "sampling.locations=10", "corpus.modalities=['esa_worldcover', 'biome']",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.xdist_group("deploy")
@pytest.mark.timeout(600)
def test_a_worker_runs_the_deployed_export(server: str, tmp_path: Path) -> None:
    here, deployed = tmp_path / "here", tmp_path / "deployed"
    with sandbox() as url:
        run_stages(settings(url, here), ("sample", "anchor"))
        shutil.copytree(here, deployed)
        absent = geocorpus("deploy", "demo", "--pool", "absent", *settings(url, deployed))
        assert absent.returncode == 2 and "no work pool 'absent'" in absent.stderr
        # Where this is typed is where the runs start, and nothing there is imported.
        outcome = command(
            "deploy", "demo", "--pool", "lab", *settings(url, Path("..") / "deployed"), cwd=rivals(tmp_path / "typed")
        )
        assert outcome.returncode == 0, outcome.stderr
        prefect("deployment", "run", re.findall(r"prefect deployment run '(.+)' --watch", outcome.stdout)[0])
        prefect("worker", "start", "--pool", "lab", "--run-once", cwd=tmp_path / "typed")
        run_stages(settings(url, here), ("export",))
    assert Corpus.open(deployed).missing() == {}
    assert differences(snapshot(deployed), snapshot(here)) == []


def test_without_a_server_it_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with pytest.raises(Fatal, match="no Prefect server is configured; run `prefect server start`"):
        deploy(load("demo", [f"corpus.folder={tmp_path / 'c'}"]), "lab")
    assert not (tmp_path / "c").exists()
