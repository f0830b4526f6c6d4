"""`geocorpus upgrade`: one sentence at the end, the damaged shards by name, and one writer at a time."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from flows.upgrade import upgrade
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.lock import locked
from pipeline.progress import Silent, Tracker
from tests.pipeline.older import aged, made


def test_it_says_what_it_did(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    aged(made(tmp_path, 1))
    caplog.clear()
    progress = Tracker()
    assert upgrade(tmp_path, progress) == f"8 objects in {tmp_path} got checksums: all its chips carry them now."
    assert (progress.snapshot().done, progress.snapshot().total) == (9, 9)
    with caplog.at_level(logging.WARNING):
        assert upgrade(tmp_path, Silent()) == f"All chips in {tmp_path} carry checksums."
        Corpus.open(tmp_path)
    assert not caplog.text


def test_it_names_what_is_damaged_and_the_way_on(tmp_path: Path) -> None:
    corpus = aged(made(tmp_path, 1))
    path = corpus.object_path("optical", corpus.shards[1])
    content = bytearray(path.read_bytes())
    content[4] ^= 1
    path.write_bytes(content)
    with pytest.raises(Fatal, match=r"damaged in .*: shard 1 of 'optical' \(row 8 has another size\); run .*--repair"):
        upgrade(tmp_path, Silent())


def test_another_run_keeps_it_out(tmp_path: Path) -> None:
    aged(made(tmp_path, 1))
    with locked(tmp_path), pytest.raises(Fatal, match="is working on"):
        upgrade(tmp_path, Silent())


def test_a_folder_without_a_corpus_is_left_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="there is no corpus in"):
        upgrade(tmp_path / "typo", Silent())
    assert not list(tmp_path.iterdir())
