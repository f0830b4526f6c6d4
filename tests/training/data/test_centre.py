"""Centres of scattered chips are those of the store, and no other chip is read for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.training.corpora import make_corpus
from training.data.centre import read_centre

ROWS = np.array([1, 6, 9, 10, 19])


@pytest.mark.parametrize("name", ["light", "echo", "ground", "nothing"])
def test_scattered_rows_are_read_one_by_one(corpus: Corpus, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    expected = corpus.read(name, slice(0, 20))[ROWS][:, :, 4:28, 4:28]

    def refuse(*_: Any) -> None:
        raise AssertionError("a whole span was read")

    monkeypatch.setattr(Corpus, "read", refuse)
    np.testing.assert_array_equal(read_centre(corpus, name, ROWS, 24), expected)


def test_values_of_whole_chips_come_as_they_are(corpus: Corpus) -> None:
    np.testing.assert_array_equal(read_centre(corpus, "weather", ROWS, 24), corpus.read("weather", slice(0, 20))[ROWS])


def test_a_row_that_is_not_exported_is_refused(tmp_path: Any) -> None:
    corpus = make_corpus(tmp_path)
    corpus.ledger.path("echo", 1).unlink()
    with pytest.raises(Fatal, match="'echo'"):
        read_centre(Corpus.open(tmp_path), "echo", ROWS, 24)
