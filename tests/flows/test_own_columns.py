"""Columns of places that a corpus gains: the values stay, in the types of the corpus, or the sample is not begun."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from flows.growth import Step
from flows.own_columns import fitted
from pipeline.errors import Fatal
from sampling.allocation import Allocation, Quota
from sampling.sample import Sample
from tests.pipeline.own_tables import KINDS, make_own_manifest


def drawn(name: str, cells: list[Any], kind: pa.DataType) -> Sample:
    own = pa.table({name: pa.array(cells, kind)}).to_pandas(types_mapper=pd.ArrowDtype)
    table = pd.DataFrame({"lon": range(len(cells)), "lat": range(len(cells)), "stratum": "points"})
    return Sample(pd.concat([table, own], axis=1), Allocation((Quota("points", len(cells), "own"),)))


@pytest.fixture
def step(tmp_path: Path) -> Step:
    make_own_manifest(tmp_path, 6)
    return Step(tmp_path, 1)


@pytest.mark.parametrize(
    ("name", "cells", "kind", "kept"),
    [
        ("yield_t", [4, None, 2], pa.int64(), [4.0, None, 2.0]),
        ("plot", [4.0, None, 2.0], pa.float64(), [4, None, 2]),
        ("crop", [11, 12], pa.int64(), ["11", "12"]),
        *((name, [None, None], pa.string(), [None, None]) for name in KINDS),
        ("crop", ["tea"], pa.string(), ["tea"]),
    ],
)
def test_values_come_in_the_types_of_the_corpus(
    step: Step, name: str, cells: list[Any], kind: pa.DataType, kept: list[Any]
) -> None:
    column = pa.array(fitted(step, drawn(name, cells, kind)).table[name])
    assert column.to_pylist() == kept and column.type == KINDS[name]


@pytest.mark.parametrize(
    ("name", "cells", "kind", "words"),
    [
        ("plot", [9.5], pa.float64(), "'plot' of the new places is of type double, and int64 in the corpus"),
        ("plot", ["nine"], pa.string(), "'plot' of the new places is of type string"),
        ("yield_t", [2**53 + 1], pa.int64(), "'yield_t' of the new places"),
        ("farm", [1], pa.int64(), "a column 'farm' that the corpus does not have"),
    ],
)
def test_what_would_change_or_is_new_is_refused(
    step: Step, name: str, cells: list[Any], kind: pa.DataType, words: str
) -> None:
    with pytest.raises(Fatal, match=words):
        fitted(step, drawn(name, cells, kind))
    first = drawn(name, cells, kind)
    assert fitted(Step(step.corpus, 0), first) is first, "which makes the corpus"
