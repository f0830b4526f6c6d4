"""What was paid for is kept: chips of several runs side by side, damaged files as if they were none; dead letters."""

from __future__ import annotations

from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from numcodecs import Blosc

from pipeline.dead_letters import DeadLetter, DeadLetters
from pipeline.errors import Fatal
from pipeline.shard import Shard
from pipeline.spool import _HEAD, _MAGIC, ChipResult, Spool

SHARD = Shard(3, 12, 16)


def test_layers_of_an_earlier_run_stay(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.put(SHARD, 12, ChipResult({"a": np.ones(3)}, {"b": "clouds"}))
    spool.put(SHARD, 12, ChipResult({"b": np.zeros(2)}, {"c": "none"}))
    kept = spool.get(SHARD, 12)
    assert kept and set(kept.values) == {"a", "b"} and kept.missing == {"c": "none"}
    assert np.array_equal(kept.values["a"], np.ones(3))


def test_values_come_back_from_what_was_compressed(tmp_path: Path) -> None:
    spool, random = Spool(tmp_path), np.random.default_rng(0)
    values = {"a": random.integers(0, 9, (2, 8, 8)).astype("<u2"), "b": np.arange(3.0), "c": np.zeros((1, 2), "u1")}
    compressed = {"a": Blosc("zstd", 3).encode(values["a"]), "c": b""}  # nothing is kept of a chip without data
    spool.put(SHARD, 12, ChipResult(values, {"d": "clouds: é"}, compressed))
    kept = spool.get(SHARD, 12)
    assert kept and kept.missing == {"d": "clouds: é"} and dict(kept.compressed) == {"a": compressed["a"]}
    assert all(np.array_equal(kept.values[name], values[name]) for name in values)
    assert all(kept.values[name].dtype == values[name].dtype for name in values)


def test_what_was_compressed_goes_with_its_values() -> None:
    ours = ChipResult({"a": np.ones(1), "b": np.ones(1), "c": np.ones(1)}, {}, {"a": b"1", "b": b"1", "c": b"1"})
    joined = ours.join(ChipResult({"a": np.zeros(1)}, {"b": "clouds"}))
    assert set(joined.values) == {"a", "c"} and dict(joined.compressed) == {"c": b"1"}
    assert dict(ours.renamed({"c": "d"}).compressed) == {"d": b"1"}


def test_a_damaged_chip_is_no_chip_and_can_be_kept_anew(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.put(SHARD, 12, ChipResult({"a": np.ones(3)}))
    (path,) = tmp_path.rglob("*.chip")
    path.write_bytes(path.read_bytes()[:50])
    assert spool.get(SHARD, 12) is None
    spool.put(SHARD, 12, ChipResult({"a": np.ones(3)}))
    assert spool.get(SHARD, 12) is not None


@pytest.mark.parametrize(
    "description", [b"{}", b"[]", b"7", b'{"values": [1]}', b'{"values": [["a", "O", [1], 8, false]]}']
)
def test_a_whole_file_of_another_make_is_no_chip(tmp_path: Path, description: bytes) -> None:
    spool = Spool(tmp_path)
    spool.put(SHARD, 12, ChipResult({"a": np.ones(1)}))
    (path,) = tmp_path.rglob("*.chip")
    body = description + bytes(8)
    path.write_bytes(_HEAD.pack(_MAGIC, google_crc32c.value(body), len(description)) + body)
    assert spool.get(SHARD, 12) is None


def test_a_chip_whose_middle_a_power_cut_left_out_is_no_chip(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.put(SHARD, 12, ChipResult({"a": np.arange(5000.0)}))
    (path,) = tmp_path.rglob("*.chip")
    whole = path.read_bytes()
    path.write_bytes(whole[:9000] + bytes(4096) + whole[9000 + 4096 :])
    assert spool.get(SHARD, 12) is None


def letter(row: int) -> DeadLetter:
    return DeadLetter(row, f"place-{row}", (7.5, 45.5), ("a", "b"), "Transient", "no answer.")


def test_dead_letters_are_kept_in_order_and_go_with_their_shard(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "failed")
    letters.record(SHARD, [letter(14), letter(12)])
    letters.record(Shard(0, 0, 4), [letter(1)])
    assert letters.read() == [letter(1), letter(12), letter(14)]
    letters.record(SHARD, [])
    assert letters.read() == [letter(1)]
    letters.record(Shard(0, 0, 4), [])
    assert letters.read() == [] and not (tmp_path / "failed").exists()


def test_a_damaged_letter_is_named(tmp_path: Path) -> None:
    (tmp_path / "00001.json").write_text('[{"row": 1}]')
    with pytest.raises(Fatal, match="00001.json is damaged"):
        DeadLetters(tmp_path).read()
