"""What the owner's table says about a place is in the manifest: typed, in order, and in the digest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import Fatal
from pipeline.location import write_location_table
from pipeline.locations import Locations
from pipeline.manifest import Manifest
from pipeline.own_columns import OwnDigest, kind_of
from tests.pipeline.chips import make_manifest
from tests.pipeline.own_tables import KINDS, VALUES, make_own_manifest, own_table, with_own


def test_every_kind_of_value_comes_back_with_its_place(tmp_path: Path) -> None:
    plain = list(make_manifest(tmp_path, 30))
    make_own_manifest(tmp_path, 30)
    again = Manifest.read(tmp_path / "manifest.parquet")
    assert again.own_columns == tuple(KINDS)
    rows = {chip.location.id: row for row, chip in enumerate(plain)}
    for chip in again:
        expected = {name: values[rows[chip.location.id] % 3] for name, values in VALUES.items()}
        assert dict(chip.own) == expected
        assert {name: type(value) for name, value in chip.own.items()} == {
            name: type(value) for name, value in expected.items()
        }


def test_columns_are_arrays(tmp_path: Path) -> None:
    manifest = make_own_manifest(tmp_path, 6)
    kinds = {name: manifest.column(name).dtype.str[1:] for name in KINDS}
    assert kinds == {"plot": "f8", "yield_t": "f8", "irrigated": "O", "crop": "O", "sown": "M8[D]", "seen": "M8[ms]",
                     "field": "O"}  # fmt: skip
    assert set(manifest.column("irrigated").tolist()) == {True, False, None}
    assert manifest.column("crop", slice(2, 4)).tolist() == manifest.column("crop").tolist()[2:4]


@pytest.mark.parametrize("name", list(KINDS))
def test_the_digest_sees_a_change_of_any_value_name_or_kind(tmp_path: Path, name: str) -> None:
    plain, own = make_manifest(tmp_path, 9), own_table(9)
    before = with_own(plain, own).digest
    turned = own.set_column(
        own.column_names.index(name), own.schema.field(name), own.column(name).combine_chunks()[::-1]
    )
    swapped = own.rename_columns([f"{each}_" if each == name else each for each in own.column_names])
    assert len({before, with_own(plain, turned).digest, with_own(plain, swapped).digest, plain.digest}) == 4
    assert with_own(plain, own_table(9)).digest == before


def test_numbers_that_differ_in_the_last_digit_differ(tmp_path: Path) -> None:
    plain = make_manifest(tmp_path, 2)
    near = [pa.table({"a": [1.0, value]}) for value in (0.3, 0.1 + 0.2, np.nextafter(0.3, 0))]
    assert len({with_own(plain, own).digest for own in near}) == 3
    typed = [pa.table({"a": pa.array([1, 2], kind)}) for kind in (pa.int64(), pa.float64())]
    assert len({with_own(plain, own).digest for own in typed}) == 2


def test_without_such_columns_digest_and_file_are_as_ever(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path, 9)
    assert manifest.digest == "10837bb1fffcf82d421eb6dd203ea902829f40a58f897d8ea5c57862fb480514"
    assert list(pq.read_schema(tmp_path / "manifest.parquet").metadata) == [b"geo"]


def test_a_column_that_somebody_added_to_the_file_is_none_of_the_manifest(tmp_path: Path) -> None:
    digest = make_manifest(tmp_path, 9).digest
    make_manifest(tmp_path, 9).frame.assign(note="mine").to_parquet(tmp_path / "noted.parquet", index=False)
    noted = Manifest.read(tmp_path / "noted.parquet")
    assert noted.digest == digest and not noted.own_columns


def test_a_lost_column_is_named(tmp_path: Path) -> None:
    make_own_manifest(tmp_path, 9)
    whole = pq.read_table(tmp_path / "manifest.parquet")
    pq.write_table(whole.drop_columns(["crop"]), tmp_path / "less.parquet")
    with pytest.raises(Fatal, match="less.parquet lacks the columns crop"):
        Manifest.read(tmp_path / "less.parquet")


@pytest.mark.parametrize("cut", [1, 4, 9])
def test_the_digest_does_not_depend_on_the_pieces(cut: int) -> None:
    own = own_table(10)
    whole, parts = OwnDigest(own.schema), OwnDigest(own.schema)
    whole.add(own)
    for piece in (own.slice(0, 0), own.slice(0, cut), own.slice(cut)):
        parts.add(piece)
    assert whole.over("x") == parts.over("x") != whole.over("y")


def test_locations_carry_them(tmp_path: Path) -> None:
    table = pd.DataFrame({"lon": [1.0, 2.0, 3.0], "lat": 5.0, "stratum": "points", "biome": 0, "biome_name": "",
                          "ecoregion": 0, "ecoregion_name": "", "realm": "", "split": "train"})  # fmt: skip
    own = own_table(3).to_pandas(types_mapper=pd.ArrowDtype)
    write_location_table(tmp_path / "l.parquet", pd.concat([table, own], axis=1))
    back = Locations.read(tmp_path / "l.parquet")
    assert back.own == list(own_table(3).schema)
    assert {name: back.table.column(name).to_pylist() for name in KINDS} == VALUES
    assert back.take(np.array([2])).table.column("plot").to_pylist() == [-7]


def test_a_column_that_the_manifest_has_itself_is_no_owners(tmp_path: Path) -> None:
    table = pd.DataFrame({"lon": [1.0], "lat": 5.0, "stratum": "points", "biome": 0, "biome_name": "", "ecoregion": 0,
                          "ecoregion_name": "", "realm": "", "split": "train"})  # fmt: skip
    strange = {name: "x" for name in ("level", "crs", "reason", "anchor_index", "mine")}
    write_location_table(tmp_path / "l.parquet", table.assign(**strange))
    assert [field.name for field in Locations.read(tmp_path / "l.parquet").own] == ["mine"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (pa.uint8(), pa.int64()), (pa.float32(), pa.float64()), (pa.decimal128(5, 2), pa.float64()),
        (pa.dictionary(pa.int8(), pa.large_string()), pa.string()), (pa.date64(), pa.date32()),
        (pa.timestamp("ns"), pa.timestamp("ms", tz="UTC")), (pa.list_(pa.int8()), None),
    ],
)  # fmt: skip
def test_widths_of_other_tools_become_ours(given: pa.DataType, kept: pa.DataType | None) -> None:
    assert kind_of(given) == kept
