"""Chips that are left out are in no batch and no picture, and decide which run it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.training.bad_chips import with_bad_chip
from tests.training.corpora import CONFIG
from tests.training.pretrain.test_train import Recorder
from training.config import PretrainConfig
from training.data.left_out import rows_left_out
from training.pretrain.picture_log import rows_to_draw
from training.pretrain.resolved_run import resolve_run
from training.pretrain.train import pretrain
from training.pretrain.val_rows import val_rows


def id_of(corpus: Corpus, row: int) -> str:
    return str(corpus.manifest.column("id")[row])


def test_rows_and_ids_in_a_list_or_a_file_are_the_same(corpus: Corpus, tmp_path: Path) -> None:
    listed = (7, id_of(corpus, 3), "12")
    (tmp_path / "bad.txt").write_text(f"# cloudy\n7\n\n{id_of(corpus, 3)}  # by id\n12\n")
    assert rows_left_out(corpus, listed).tolist() == [3, 7, 12]
    assert rows_left_out(corpus, str(tmp_path / "bad.txt")).tolist() == [3, 7, 12]
    assert rows_left_out(corpus, ()).tolist() == rows_left_out(corpus, "").tolist() == []


def test_an_id_of_digits_is_an_id(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.left_out._rows_of_ids", lambda corpus: {"7": [2]})
    assert rows_left_out(corpus, ("7", 7)).tolist() == [2, 7]


def test_they_are_in_no_batch_and_no_picture(corpus: Corpus) -> None:
    train, val = (corpus.manifest.rows_of(split) for split in ("train", "val"))
    resolved = resolve_run(corpus, replace(CONFIG, leave_out=(int(train[2]), int(train[9]), int(val[0]))))
    assert set(resolved.loader.rows.tolist()) == set(train.tolist()) - {int(train[2]), int(train[9])}
    assert int(val[0]) not in rows_to_draw(resolved) and len(rows_to_draw(resolved))
    np.testing.assert_array_equal(np.sort(resolved.loader.order(0)), resolved.loader.rows)


def test_a_run_without_its_bad_chip_skips_nothing(tmp_path: Path) -> None:
    corpus = with_bad_chip(tmp_path / "corpus", 7)
    config, recorder = replace(CONFIG, leave_out=(id_of(corpus, 7),)), Recorder()
    result = pretrain(corpus.folder, config, tmp_path / "run", recorder)
    assert not result.skipped and not recorder.said and np.isfinite(recorder.losses).all()
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["config"]["leave_out"] == [7] and run["train_rows"] == 15
    assert "1 chips were left out by hand" in (tmp_path / "run" / "model_card.md").read_text()
    assert pretrain(corpus.folder, replace(CONFIG, leave_out=(7,)), tmp_path / "run").samples_per_s == 0
    with pytest.raises(Fatal, match=r"was begun with pretrain\.leave_out = \[7\], not \[7, 8\]; .*pretrain\.run=NAME"):
        pretrain(corpus.folder, replace(CONFIG, leave_out=(7, 8)), tmp_path / "run")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["nowhere"], r"pretrain\.leave_out names chip 'nowhere', which .* does not have; take it off the list\."),
        ([20], r"pretrain\.leave_out names row 20, but the rows of .* are 0 to 19; take it off the list\."),
        ([-1], r"names row -1, but the rows"),
        ("no-such-file.txt", r"leave_out = 'no-such-file.txt' cannot be read as a file of one row .*: No such file"),
        (list(range(20)), r"pretrain\.leave_out leaves no train rows of .*; choose others\."),
        (7, r"pretrain\.leave_out and pretrain\.only are a file, or a list of rows and ids, not 7\."),
        ([1.5], r"pretrain\.leave_out and pretrain\.only are a file, or a list of rows and ids, not \[1\.5\]\."),
        ([True], r"are a file, or a list"),
    ],
)
def test_refusals(corpus: Corpus, tmp_path: Path, given: Any, said: str) -> None:
    with pytest.raises(Fatal, match=said) as refusal:
        settings = CONFIG.to_dict() | {"leave_out": given}
        pretrain(corpus.folder, PretrainConfig.from_dict(settings), tmp_path / "run")
    assert "\n" not in str(refusal.value) and not (tmp_path / "run").exists()


def test_a_file_of_no_text_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "bad.bin").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Fatal, match="cannot be read as a file of one row or id per line: it is no text"):
        rows_left_out(corpus, str(tmp_path / "bad.bin"))


def test_a_run_may_keep_to_some_rows(corpus: Corpus, tmp_path: Path) -> None:
    """Stretches, rows and ids, in a list or in a file as the explorer saves one; val chips stay."""
    (tmp_path / "rows.txt").write_text(f"0:6,8\n{id_of(corpus, 10)}  # a place\n")
    wanted = [*range(6), 8, 10]
    for only in (str(tmp_path / "rows.txt"), ("0:6", 8, id_of(corpus, 10))):
        resolved = resolve_run(corpus, replace(CONFIG, only=only, leave_out=(2,)))
        train = set(corpus.manifest.rows_of("train").tolist())
        assert resolved.loader.rows.tolist() == [row for row in wanted if row in train and row != 2]
        assert resolved.config.only == ("0:6", "8", "10")
        assert val_rows(resolved).tolist() == val_rows(resolve_run(corpus, CONFIG)).tolist()


def test_who_keeps_to_other_rows_is_another_run(tmp_path: Path) -> None:
    corpus = with_bad_chip(tmp_path / "corpus", 17)
    pretrain(corpus.folder, replace(CONFIG, only=("0:12",)), tmp_path / "run")
    pretrain(corpus.folder, replace(CONFIG, only=tuple(range(12))), tmp_path / "run")
    with pytest.raises(Fatal, match=r"was begun with pretrain\.only"):
        pretrain(corpus.folder, replace(CONFIG, only=("0:13",)), tmp_path / "run")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["5:40"], r"pretrain\.only names rows 5:40, but the rows of .* are 0 to 19"),
        (["5:5"], r"pretrain\.only names rows 5:5"),
        (["a:b"], r"pretrain\.only names chip 'a:b'"),
    ],
)
def test_rows_to_keep_to_that_there_are_not(corpus: Corpus, given: Any, said: str) -> None:
    with pytest.raises(Fatal, match=said):
        resolve_run(corpus, replace(CONFIG, only=tuple(given)))


def test_val_rows_alone_leave_nothing_to_train_on(corpus: Corpus) -> None:
    only = tuple(corpus.manifest.rows_of("val").tolist())
    with pytest.raises(Fatal, match=r"pretrain\.only and pretrain\.leave_out leave no train rows"):
        resolve_run(corpus, replace(CONFIG, only=only))
