"""What is asked for is what is chosen, and what cannot be understood is said in a sentence."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.formats.choice import Choice, fulfilling
from exporters.formats.selection import runs_of
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.pipeline.chips import make_manifest
from tests.pipeline.damage import finished_corpus
from tests.pipeline.own_tables import with_own


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return finished_corpus(tmp_path_factory.mktemp("choice") / "corpus", chips=10, shard_rows=4)


def test_nothing_asked_for_is_everything(corpus):
    chosen = Choice().of(corpus)
    assert (chosen.rows.tolist(), chosen.layers) == (list(range(10)), ("climate", "cover", "optical"))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [("3", [3]), ("8:", [8, 9]), (":2", [0, 1]), ("5,0:2,1", [0, 1, 5]), ("0:10", list(range(10)))],
)
def test_rows(corpus, rows, expected):
    assert Choice(rows=rows).of(corpus).rows.tolist() == expected


def test_a_condition_is_that_of_pandas(corpus):
    frame = corpus.manifest.frame
    frame["anchor_time"] = frame["anchor_time"].dt.tz_localize(None)  # its eval compares no zones
    where = "split == 'val' or (biome in [1, 4, 7] and not lat > 0) or anchor_time < '2017-07-20'"
    assert Choice(where=where).of(corpus).rows.tolist() == np.flatnonzero(frame.eval(where)).tolist()


def test_a_place_is_the_chip_that_covers_it_or_has_the_id(corpus):
    chip = corpus.manifest[7]
    assert Choice(places=[f"{chip.location.lon + 0.0003},{chip.location.lat}"]).of(corpus).rows.tolist() == [7]
    both = Choice(places=[chip.location.id, corpus.manifest[2].location.id]).of(corpus)
    assert both.rows.tolist() == [2, 7]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Choice(rows="a"), "not understood"),
        (Choice(rows="0:11"), "rows are 0 to 9"),
        (Choice(rows="4:4"), "not within"),
        (Choice(where="split = 'val'"), "not understood"),
        (Choice(where="splt == 'val'"), "did you mean 'split'"),
        (Choice(where="chip_cloud_percent <= 5"), "unknown column.*no layer of this corpus tells it.*docs/quality.md"),
        (Choice(where="split.upper() == 'VAL'"), "more than a condition"),
        (Choice(where="biome"), "no condition"),
        (Choice(where="1 == 1"), "names no column"),
        (Choice(where="lat > 'x'"), "does not work"),
        (Choice(where="biome > 1000"), "no chip"),
        (Choice(places=["nowhere"]), "neither the id"),
        (Choice(places=["0,89.9"]), "km away"),
        (Choice(layers=["optic"]), "did you mean 'optical'"),
    ],
)
def test_what_cannot_be_understood_is_said(corpus, choice, words):
    with pytest.raises(Fatal, match=words):
        choice.of(corpus)


def test_a_column_may_be_called_as_a_word_of_python(tmp_path):
    own = pa.table({"class": ["class", "b", "a"], "yield": [1.0, 2.0, 3.0]})
    with_own(make_manifest(tmp_path, 3, 8), own).write(tmp_path / "manifest.parquet")
    corpus = Corpus.create(tmp_path, [], 3)
    where = "class == 'class' or yield > 2 and class in ['a', \"b\"]"
    assert corpus.manifest.column("class")[fulfilling(where, corpus)].tolist() == ["class", "a"]


def test_blocks_hold_the_values_of_their_rows(corpus):
    chosen = Choice(rows="0:2,3,6:10").of(corpus)
    whole = corpus.read("optical", slice(0, 10))
    read = list(chosen.blocks("optical", at_once=2))
    assert np.concatenate([rows for rows, _ in read]).tolist() == chosen.rows.tolist()
    assert all(np.array_equal(values, whole[rows]) for rows, values in read)
    assert all(len(rows) <= 2 and len(set(rows // 4)) == 1 for rows, _ in read)


@given(st.sets(st.integers(0, 60), min_size=1), st.integers(1, 9), st.integers(1, 9))
def test_runs_cover_each_row_once_in_order(rows, shard_rows, at_once):
    given_rows = np.array(sorted(rows))
    runs = list(runs_of(given_rows, shard_rows, at_once))
    assert np.concatenate(runs).tolist() == given_rows.tolist()
    for run in runs:
        assert (
            len(run) <= at_once and run[-1] - run[0] == len(run) - 1 and run[0] // shard_rows == run[-1] // shard_rows
        )
