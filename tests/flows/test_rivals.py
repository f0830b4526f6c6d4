"""Folders in the working folder that are called like our packages: no process of ours imports them."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.prefect_runs import prefect_server
from tests.rivals import command, rivals

SMALL = [
    "corpus.folder=c", "corpus.size_px=32", "corpus.shard_rows=4", "sampling.locations=8", "source.concurrency=4",
    "corpus.modalities=['esa_worldcover', 'biome']",
]  # fmt: skip


def test_the_local_earth_engine_starts_beside_a_folder_of_its_name(tmp_path: Path) -> None:
    done = command("sample", "demo", *SMALL, cwd=rivals(tmp_path, "sandbox"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "c" / "locations.parquet").exists()


def test_prefects_server_starts_beside_a_folder_of_our_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(rivals(tmp_path, "flows"))
    with prefect_server.running() as server:
        assert server.url.startswith("http://127.0.0.1:")


def test_a_package_hidden_by_pythonpath_is_one_sentence(tmp_path: Path) -> None:
    hiding = rivals(tmp_path / "mine", "training")
    done = command("status", "c", cwd=tmp_path, PYTHONPATH=str(hiding))
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == (
        f"geocorpus: the folder {hiding}/training hides the package training that geocorpus brings; "
        f"take {hiding} off PYTHONPATH, or rename the folder.\n"
    )
