"""The manifest: frozen, ordered, hashed; and shards that cover it once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Fatal
from pipeline.manifest import Manifest
from pipeline.shard import shards_of
from tests.pipeline.chips import make_chip, make_manifest


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path, 23)
    again = Manifest.read(tmp_path / "manifest.parquet")
    assert again == manifest
    assert list(again) == list(manifest)
    originals = {chip.location.id: chip for chip in (make_chip(number) for number in range(23))}
    for row, chip in enumerate(again):
        assert chip == replace(originals[chip.location.id], row=row, split=chip.split)


def test_order_depends_on_the_seed_alone(tmp_path: Path) -> None:
    chips = [make_chip(number) for number in range(20)]
    first, turned = Manifest.freeze(chips, 1), Manifest.freeze(chips[::-1], 1)
    assert first == turned
    assert first != Manifest.freeze(chips, 2)


def test_equal_manifests_are_equal_bytes(tmp_path: Path) -> None:
    make_manifest(tmp_path / "a", 9)
    make_manifest(tmp_path / "b", 9)
    assert (tmp_path / "a/manifest.parquet").read_bytes() == (tmp_path / "b/manifest.parquet").read_bytes()


def test_splits_are_ranges(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path, 30)
    rows = np.concatenate([manifest.rows_of(split) for split in ("train", "val", "test")])
    np.testing.assert_array_equal(rows, np.arange(30))


@pytest.mark.parametrize("field", ["lon", "split", "level", "anchor_id", "origin_x_m"])
def test_the_digest_sees_every_kind_of_change(tmp_path: Path, field: str) -> None:
    manifest = make_manifest(tmp_path, 5)
    changed = manifest.frame.copy()
    value = changed.loc[2, field]
    changed.loc[2, field] = value + "x" if isinstance(value, str) else value + 10
    assert Manifest(changed).digest != manifest.digest


def test_what_cannot_be_frozen_is_refused(tmp_path: Path) -> None:
    chip = make_chip(1)
    for chips, words in (([], "no chips"), ([chip, chip], "twice"), ([replace(chip, split="x")], "unknown split")):
        with pytest.raises(Fatal, match=words):
            Manifest.freeze(chips, 0)
    with pytest.raises(Fatal, match="geocorpus anchor"):
        Manifest.read(tmp_path / "manifest.parquet")


@given(st.integers(0, 2000), st.integers(1, 600))
def test_shards_cover_every_row_once(rows: int, shard_rows: int) -> None:
    shards = shards_of(rows, shard_rows)
    assert [row for shard in shards for row in shard.rows] == list(range(rows))
    assert all(0 < len(shard) <= shard_rows for shard in shards)
    assert [shard.index for shard in shards] == list(range(len(shards)))
