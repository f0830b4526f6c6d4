"""The manifest: frozen, ordered, hashed; and shards that cover it once."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Fatal
from pipeline.manifest import COLUMNS, Manifest
from pipeline.rows import PIECE_ROWS
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
    assert Manifest.of_frame(changed).digest != manifest.digest


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


def digest_of_the_whole(frame: pd.DataFrame) -> str:
    """The digest as one text, the way that the first corpora were hashed."""
    text = frame[list(COLUMNS)].to_csv(index=False, float_format="%.9g", date_format="%Y-%m-%dT%H:%M:%S.%f")
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_digest_of_corpora_that_exist_stays_what_it_was() -> None:
    manifest = Manifest.freeze([make_chip(number) for number in range(23)], 0)
    assert manifest.digest == "30ff2348123a72bb1b2ba44825342c52f15103986cc81f6dd70f47ed1e7242c1"


def test_the_digest_in_pieces_is_the_digest_of_the_whole(tmp_path: Path) -> None:
    few = pa.Table.from_pandas(make_manifest(tmp_path, 97).frame[list(COLUMNS)], preserve_index=False)
    without_radar = few.set_column(few.column_names.index("ascending_time"), "ascending_time",
                                   pa.nulls(len(few), pa.timestamp("ms", "UTC")))  # fmt: skip
    many = pa.concat_tables([few] * (PIECE_ROWS // 97 + 1) + [without_radar] * 90)
    whole = Manifest.of_frame(many.to_pandas())
    assert len(whole) > 2 * PIECE_ROWS
    assert whole.digest == digest_of_the_whole(many.to_pandas())
    for name in ("split", "descending_id"):
        assert whole.column(name).tolist() == many.column(name).to_pylist()
        assert whole.column(name, slice(40, 90)).tolist() == many.column(name).slice(40, 50).to_pylist()
    moments, fifth = whole.column("anchor_time"), whole[5].acquisition.date
    assert moments.dtype == "datetime64[ms]" and moments[5] == np.datetime64(fifth.replace(tzinfo=None))


def test_files_with_one_large_row_group_are_read_as_well(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path, 40)
    manifest.frame.to_parquet(tmp_path / "older.parquet", index=False)
    older = Manifest.read(tmp_path / "older.parquet")
    assert older == manifest
    assert older.chips(7, 31) == manifest.chips(7, 31)


def test_the_file_is_geoparquet_with_every_grids_outline(tmp_path: Path) -> None:
    chips = [make_chip(number) for number in range(30)]
    chips[3] = replace(chips[3], grid=replace(chips[3].grid, crs="EPSG:32601", origin_xy=(162_000.0, 100_000.0),
                                              shape_yx=(900, 900)))  # fmt: skip
    manifest = Manifest.freeze(chips, 0)
    manifest.write(tmp_path / "m.parquet")
    frame = gpd.read_parquet(tmp_path / "m.parquet")
    assert frame.crs == "EPSG:4326"
    assert [polygon.wkb for polygon in frame.geometry] == [chip.grid.footprint().wkb for chip in manifest]
    assert max(polygon.bounds[2] for polygon in frame.geometry) > 180


def test_rows_are_read_across_row_groups(tmp_path: Path) -> None:
    long = Manifest.of_frame(pd.concat([make_manifest(tmp_path, 50).frame] * 200))
    long.write(tmp_path / "long.parquet")
    read = Manifest.read(tmp_path / "long.parquet")
    assert pq.ParquetFile(tmp_path / "long.parquet").num_row_groups == 2
    assert read.chips(PIECE_ROWS - 3, PIECE_ROWS + 4) == long.chips(PIECE_ROWS - 3, PIECE_ROWS + 4)
    assert read.column("id", slice(PIECE_ROWS - 1, PIECE_ROWS + 1)).tolist() == [
        chip.location.id for chip in long.chips(PIECE_ROWS - 1, PIECE_ROWS + 1)
    ]


def test_a_remembered_digest_holds_for_the_very_file_only(tmp_path: Path) -> None:
    first, other = make_manifest(tmp_path, 5), make_manifest(tmp_path / "other", 6)
    (tmp_path / "other/manifest.parquet").replace(tmp_path / "manifest.parquet")
    assert Manifest.read(tmp_path / "manifest.parquet").digest == other.digest != first.digest
    (tmp_path / "manifest.digest.json").unlink()
    assert Manifest.read(tmp_path / "manifest.parquet").digest == other.digest
