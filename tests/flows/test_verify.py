"""`geocorpus verify` as a command: a list on standard error and code 2, JSON for machines, and what --repair does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from flows.terminal import cli
from pipeline.corpus import Corpus
from tests.pipeline.damage import finished_corpus, flip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_corpus(tmp_path_factory.mktemp("finished")).folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def geocorpus(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["geocorpus", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_all_is_well(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert geocorpus(monkeypatch, "verify", str(folder)) == 0
    assert "9 stored objects are as the ledger says, and all that is small" in capsys.readouterr().out


def test_faults_are_listed_and_mended(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(folder / "corpus.zarr/cover/c/1/0/0/0")
    (folder / "statistics.json").unlink()
    assert geocorpus(monkeypatch, "verify", str(folder)) == 2
    told = capsys.readouterr().err
    for words in ("2 faults in", "cover shard 1", "statistics.json is lost", "export` pulls it again", "--repair"):
        assert words in told
    assert geocorpus(monkeypatch, "verify", str(folder), "--json") == 2
    data = json.loads(capsys.readouterr().out)
    assert len(data["faults"]) == 2 and data["sealed"] and data["objects"] == 9
    assert data["next"] == [
        f"geocorpus verify {folder} --repair", f"geocorpus export {folder}", f"geocorpus finalize {folder}"
    ]  # fmt: skip
    assert geocorpus(monkeypatch, "verify", str(folder), "--repair") == 0
    out = capsys.readouterr().out
    assert "Mended: cover shard 1" in out and f"Next: geocorpus export {folder}" in out
    assert Corpus.open(folder).missing() == {Corpus.open(folder).shards[1]: ("cover",)}


def test_what_is_held_by_another_is_not_mended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.lock import locked

    with locked(folder):
        assert geocorpus(monkeypatch, "verify", str(folder)) == 0
        assert geocorpus(monkeypatch, "verify", str(folder), "--repair") == 2
