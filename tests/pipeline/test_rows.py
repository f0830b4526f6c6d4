"""Rows gathered from tables side by side, against the join that they stand for."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.rows import (
    PIECE_ROWS,
    TEXT_CODES,
    FirstRows,
    GatheredRows,
    HeldRows,
    JoinedRows,
    Source,
    conformed,
    in_one_piece,
)

SCHEMA = pa.schema([("name", pa.string()), ("size", pa.int64()), ("kind", pa.string())])
LEFT = pa.table({"name": ["a", "b", "c"], "kind": pa.array(["x", "y", "x"]).dictionary_encode()})
RIGHT = pa.table({"size": [10, 20, None, 40], "name2": ["-", "-", "-", "-"]})


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=30), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_gathered_rows_are_those_of_the_join(pairs: list[tuple[int, int]], random: np.random.Generator) -> None:
    left, right = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    rows = GatheredRows([Source(LEFT, left), Source(RIGHT, right)], SCHEMA)
    data = [{"name": "abc"[item], "size": [10, 20, None, 40][other], "kind": "xyx"[item]} for item, other in pairs]
    assert rows.part(0, rows.count).to_pylist() == data
    assert rows.part(0, rows.count).schema == SCHEMA
    order = list(range(len(pairs)))
    random.shuffle(order)
    again = rows.reordered(np.array(order, dtype=np.int64))
    assert [again.column("size")[row].as_py() for row in range(rows.count)] == [data[row]["size"] for row in order]
    assert again.reordered(np.argsort(order)).part(0, rows.count).to_pylist() == data


def test_pieces_cover_all_rows_and_there_are_no_others() -> None:
    numbers = np.arange(2 * PIECE_ROWS + 5) % 3
    rows = GatheredRows([Source(LEFT, numbers), Source(RIGHT, numbers)], SCHEMA)
    pieces = list(rows.pieces())
    assert [len(piece) for piece in pieces] == [PIECE_ROWS, PIECE_ROWS, 5]
    assert pa.concat_tables(pieces).column("name").to_pylist() == rows.column("name").to_pylist()
    with pytest.raises(IndexError):
        rows.part(3, rows.count + 1)


def test_pieces_of_some_columns_are_those_of_all() -> None:
    numbers = np.arange(PIECE_ROWS + 5) % 3
    rows = GatheredRows([Source(LEFT, numbers), Source(RIGHT, numbers)], SCHEMA)
    held = HeldRows(rows.part(0, rows.count))
    lacking = HeldRows(rows.part(0, 9).drop_columns(["kind"]))
    for kind in (rows, held, FirstRows(held, PIECE_ROWS + 1), JoinedRows(held, lacking)):
        for names in (("size",), ("kind", "name"), ("kind",)):
            some, whole = (pa.concat_tables(kind.pieces(*chosen)) for chosen in ((names,), ()))
            assert some.equals(whole.select(names))


def test_codes_of_many_tables_become_those_of_one() -> None:
    schema = pa.schema([("kind", TEXT_CODES)])
    parts = [conformed(pa.table({"kind": list(texts)}), schema) for texts in ("ab", "ca", "bb")]
    joined = in_one_piece(parts)
    assert joined.column("kind").num_chunks == 1 and not parts
    assert joined.column("kind").to_pylist() == list("abcabb")
    assert sorted(joined.column("kind").chunk(0).dictionary.to_pylist()) == list("abc")
