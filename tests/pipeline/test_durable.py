"""Files are whole or absent, and a full or closed disk is one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline import durable
from pipeline.errors import Fatal
from pipeline.shard import Shard
from pipeline.spool import ChipResult, Spool


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    durable.write_text(target, "old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        durable.publish(target, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]
    assert target.read_text() == "old"


def test_the_cause_of_an_error_without_words_is_said() -> None:
    """As of rasterio, whose own words only point to it."""
    error = OSError("Write failed. See previous exception for details.")
    error.__cause__ = RuntimeError("no space for this strip.")
    said = str(durable.unwritable(Path("a.tif"), error))
    assert said == "cannot write a.tif: no space for this strip; check the path and the space on disk."


def test_an_unwritable_path_is_named() -> None:
    with pytest.raises(Fatal, match="cannot write /proc/geocorpus/x.json"):
        durable.write_json(Path("/proc/geocorpus/x.json"), {})


def test_equal_contents_are_equal_bytes(tmp_path: Path) -> None:
    durable.write_json(tmp_path / "a", {"x": 1, "a": [1.5, "é"]})
    durable.write_json(tmp_path / "b", {"a": [1.5, "é"], "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_leftovers_are_swept(tmp_path: Path) -> None:
    hexadecimal = "0123456789abcdef" * 2
    ours = [tmp_path / "deep" / f".x.json.{hexadecimal}.tmp", tmp_path / f".y.{hexadecimal}.tmp",
            tmp_path / "deep" / f"zarr.{hexadecimal}.partial"]  # fmt: skip
    others = [tmp_path / ".editor.tmp", tmp_path / "film.partial", tmp_path / "runs" / f".x.{hexadecimal}.tmp"]
    for path in ours + others:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    durable.sweep(tmp_path, spared="runs")
    assert not any(path.exists() for path in ours) and all(path.exists() for path in others)


def test_what_a_killed_write_leaves_is_known_as_a_leftover(tmp_path: Path) -> None:
    code = f"""
import os, pathlib
from pipeline import durable
folder = pathlib.Path({str(tmp_path)!r})
durable.publish(folder / "a.json", lambda path: (path.write_text("half"), os._exit(9)))
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    assert [path.read_text() for path in tmp_path.iterdir()] == ["half"]
    durable.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_spool_gives_back_what_it_keeps(tmp_path: Path) -> None:
    spool, shard = Spool(tmp_path), Shard(3, 24, 32)
    pulled = ChipResult({"a": np.arange(6, dtype=np.uint16).reshape(1, 2, 3)}, {"b": "no scene: é"})
    spool.put(shard, 25, pulled)
    kept = spool.get(shard, 25)
    assert kept is not None and kept.missing == pulled.missing
    np.testing.assert_array_equal(kept.values["a"], pulled.values["a"])
    assert kept.covers(("a", "b")) and not kept.covers(("a", "c"))
    assert spool.get(shard, 26) is None
    spool.clear(shard)
    assert spool.get(shard, 25) is None


def test_a_damaged_chip_is_pulled_again(tmp_path: Path) -> None:
    spool, shard = Spool(tmp_path), Shard(0, 0, 4)
    spool.put(shard, 1, ChipResult({"a": np.ones((200, 200))}))
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert spool.get(shard, 1) is None, length
    os.truncate(path, 0)
