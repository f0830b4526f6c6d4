"""Several corpora as one: every chip once, to the byte; what does not go together is refused in one sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Geod

from exporters.formats.corpora.footprints import Footprints, gaps_m, overlap
from exporters.formats.corpora.interleaving import interleaved
from exporters.formats.corpora.leakage import leakage
from exporters.formats.corpora.merger import Merger
from flows.merging import merge
from pipeline import verification
from pipeline.ancestor import Ancestor
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.grid import Grid, to_lonlat
from pipeline.licence import Licence
from pipeline.manifest import Manifest
from pipeline.modality import Category
from pipeline.progress import Silent
from tests.exporters.formats.corpora import assert_same, columns_of, reasons, written
from tests.pipeline.chips import CLIMATE, COVER, MODALITIES, OPTICAL, make_block, make_chip
from tests.pipeline.own_tables import own_table, with_own

SIZE_PX = 16


def made(folder: Path, numbers, layers=MODALITIES, shard_rows=8, own=False, size_px=SIZE_PX, move=None) -> Corpus:
    """A finished corpus of the chips of these numbers; every second is without climate."""
    folder.mkdir()
    move = move or (lambda chip: chip)
    chips = [replace(move(make_chip(n, size_px)), split=("train", "train", "val", "test")[n % 4]) for n in numbers]
    manifest = Manifest.freeze(chips, seed=3)
    (with_own(manifest, own_table(len(chips))) if own else manifest).write(folder / "manifest.parquet")
    corpus = Corpus.create(folder, layers, shard_rows)
    for shard, names in corpus.missing().items():
        for name in names:
            block = make_block(corpus.modality(name), len(shard), size_px, shard.index)
            gone = {row: "no scene" for row in shard.rows if row % 2 and name == "climate"}
            block[[row - shard.start for row in gone]] = corpus.modality(name).fill
            corpus.write(shard, name, block, gone)
    corpus.finalize()
    return Corpus.open(folder)


def merged(target: Path, *corpora: Corpus, **how) -> Corpus:
    Merger(**how).write(corpora, target, False, Silent())
    return Corpus.open(target)


def test_it_is_what_writing_the_values_gives(tmp_path):
    first = made(tmp_path / "first", range(12), own=True)
    second = made(tmp_path / "second", range(20, 35), (OPTICAL, COVER), shard_rows=5)
    both = merged(tmp_path / "both", first, second, seed=1)
    where = {chip.location.id: (corpus, chip.row) for corpus in (first, second) for chip in corpus.manifest}
    ids = both.manifest.column("id").tolist()
    assert sorted(ids) == sorted(where)
    chosen = [where[name] for name in ids]
    layers = [CLIMATE, COVER, OPTICAL]
    assert_same(both.folder, written(tmp_path / "expected", both.manifest, layers, chosen, 8).folder)
    found = verification.verify(both.folder, Silent())
    assert (found.faults, found.unfinished, found.seal is not None) == ([], 0, True)
    assert set(reasons(both, "climate").values()) == {"no scene", "the corpus second has no such layer"}
    columns, sources = columns_of(both.manifest), [columns_of(first.manifest), columns_of(second.manifest)]
    for name, cells in columns.items():
        source = {corpus.folder: known.get(name) for corpus, known in zip((first, second), sources, strict=True)}
        expected = [known[row] if (known := source[corpus.folder]) else None for corpus, row in chosen]
        assert [cell for cell, known in zip(cells, expected, strict=True) if known is not None and cell != known] == []


def test_every_corpus_keeps_its_order_and_splits_follow_each_other(tmp_path):
    corpora = [made(tmp_path / name, numbers) for name, numbers in (("one", range(12)), ("two", range(20, 41)))]
    both = merged(tmp_path / "both", *corpora)
    place = {name: row for row, name in enumerate(both.manifest.column("id"))}
    for corpus in corpora:
        places = [place[name] for name in corpus.manifest.column("id")]
        assert places == sorted(places)
    splits = both.manifest.column("split").tolist()
    assert splits == sorted(splits, key=("train", "val", "test").index)
    assert merged(tmp_path / "again", *corpora).manifest.digest == both.manifest.digest
    assert merged(tmp_path / "other", *corpora, seed=9).manifest.digest != both.manifest.digest
    said = json.loads((both.folder / "provenance.json").read_text())
    assert [(source["rows_taken"], source["manifest_digest"]) for source in said["sources"]] == [
        (len(corpus.manifest), corpus.manifest.digest) for corpus in corpora
    ]


class Splits:
    """A manifest of which nothing but the splits is known."""

    def __init__(self, splits: str, ancestors=()) -> None:
        names = {"a": "train", "b": "val", "c": "test"}
        self.splits = np.array([names[letter] for letter in splits], dtype=object)
        self.ancestors = ancestors

    def __len__(self) -> int:
        return len(self.splits)

    def rows_of(self, split: str) -> np.ndarray:
        return np.flatnonzero(self.splits == split)


@given(st.lists(st.text("abc", max_size=12), min_size=1, max_size=4), st.integers(0, 99), st.randoms())
@example_settings(max_examples=60)
def test_all_that_is_kept_is_there_once(texts, seed, random):
    manifests = [Splits(text) for text in texts]
    kept = [np.array([random.random() < 0.8 for _ in text], dtype=bool) for text in texts]
    which, rows = interleaved(manifests, kept, seed)
    expected = {(number, int(row)) for number, mask in enumerate(kept) for row in np.flatnonzero(mask)}
    assert len(rows) == len(expected) and set(zip(which.tolist(), rows.tolist(), strict=True)) == expected


def test_the_rows_of_all_steps_of_a_corpus_that_grew_are_mixed():
    """Each order of two rows of the first step and two of the second is as likely, and so of any place of the first."""
    grown = Splits("aaaa", (Ancestor(2, ""),))
    orders = [tuple(interleaved([grown], [np.ones(4, bool)], seed)[1].tolist()) for seed in range(600)]
    counts = {order: orders.count(order) for order in set(orders)}
    assert len(counts) == 6 and max(abs(count - 100) for count in counts.values()) < 40


def moved(east_m: float, south_m: float = 0.0, crs: str | None = None):
    """Chips so far from where they would be, under other ids."""

    def move(chip):
        left, top = chip.grid.origin_xy
        grid = Grid(crs or chip.grid.crs, (left + east_m, top - south_m), chip.grid.shape_yx)
        return replace(chip, grid=grid, location=replace(chip.location, id=f"moved-{chip.location.id}"))

    return move


@pytest.mark.parametrize("south_m", [0, 10, -150])
def test_chips_that_overlap_do_and_those_that_touch_do_not(south_m):
    grid = make_chip(3).grid
    for east_m in (0, 150, 160, -150, -160):
        (left, top) = grid.origin_xy
        other = replace(grid, origin_xy=(left + east_m, top - south_m))
        assert overlap(_footprints(grid), _footprints(other)).tolist() == [abs(east_m) < 160]


def test_repeated_places_are_refused_or_left_out(tmp_path):
    one, two = made(tmp_path / "one", range(8), (CLIMATE,)), made(tmp_path / "two", range(5, 12), (CLIMATE,))
    three = made(tmp_path / "three", range(10, 14), (CLIMATE,))
    with pytest.raises(Fatal, match="3 chips of .*two have the place .* --keep-first"):
        merged(tmp_path / "all", one, two, three)
    assert not (tmp_path / "all").exists()
    corpus = merged(tmp_path / "all", one, two, three, keep_first=True)
    assert sorted(corpus.manifest.column("id")) == sorted(make_chip(number).location.id for number in range(14))


def test_chips_of_two_zones_on_the_same_ground_overlap():
    """On the border of zones 31 and 32, where each zone has its own grid for a place."""
    one, same = (_footprints(Grid.around((6.0, 47.0), crs, SIZE_PX)) for crs in ("EPSG:32631", "EPSG:32632"))
    beside = _footprints(Grid.around((6.003, 47.0), "EPSG:32632", SIZE_PX))
    assert (overlap(one, same).tolist(), overlap(one, beside).tolist()) == ([True], [False])
    assert list(one.near(same, 0.0))


@given(st.floats(-170, 170), st.floats(-70, 70), st.floats(200, 9000), st.floats(0, 360))
@example_settings(max_examples=30)
def test_gaps_are_those_of_geodesics(lon, lat, metres, azimuth):
    """Against the nearest pair of many points on both outlines."""
    grid = make_grid(lon, lat)
    far_lon, far_lat, _ = Geod(ellps="WGS84").fwd(lon, lat, azimuth, metres)
    other = make_grid(far_lon, far_lat)
    one, two = (_footprints(item) for item in (grid, other))
    points, others = (_outline_points(item) for item in (grid, other))
    one_by_one, other_by_other = np.repeat(points, len(others), 0), np.tile(others, (len(points), 1))
    nearest_m = Geod(ellps="WGS84").inv(*one_by_one.T, *other_by_other.T)[2].min()
    if not overlap(one, two)[0]:
        assert abs(gaps_m(one, two)[0] - nearest_m) < 3.0  # half of what lies between the points, and projections


def make_grid(lon: float, lat: float) -> Grid:
    zone = int((lon + 180) // 6) % 60 + 1
    return Grid.around((lon, lat), f"EPSG:{(32600 if lat >= 0 else 32700) + zone}", SIZE_PX)


def _footprints(grid: Grid) -> Footprints:
    return Footprints(
        SIZE_PX * 10.0, np.array([grid.crs], object), np.array([grid.origin_xy]), np.array([grid.centre_lonlat])
    )


def _outline_points(grid: Grid) -> NDArray[np.float64]:
    """Longitude and latitude of points 5 m apart on the outline, made in the grid's own CRS."""
    left, top = grid.origin_xy
    side_m = SIZE_PX * 10.0
    ring = shapely.segmentize(shapely.box(left, top - side_m, left + side_m, top).exterior, 5.0)
    return np.column_stack(to_lonlat(grid.crs).transform(*shapely.get_coordinates(ring).T))


def test_splits_that_are_too_near_are_told_with_the_nearest_pair(tmp_path):
    one = made(tmp_path / "one", [0], (CLIMATE,))
    two = made(tmp_path / "two", [2], (CLIMATE,), move=lambda chip: moved(160 + 300)(make_chip(0)))
    assert (one.manifest[0].split, two.manifest[0].split) == ("train", "val")
    every = [np.ones(1, bool)] * 2
    grounds = [Footprints.of(corpus.manifest) for corpus in (one, two)]
    found = leakage([one, two], grounds, every, 1000.0)
    assert found.pairs == 1 and abs(found.nearest_m - 300) < 1 and found.nearest[1].startswith("moved-")
    assert leakage([one, two], grounds, every, 299.0).pairs == 0
    assert leakage([one, one], grounds[:1] * 2, every, 1000.0).pairs == 0  # of one split
    spoken = Spoken()
    merge([one.folder, two.folder], tmp_path / "both", Merger(), None, False, spoken)
    assert "1 pairs of chips of different splits are closer than 5000 m, the nearest 300 m" in spoken.sentences[0]


def test_a_target_that_is_there_is_refused_before_anything_is_looked_at_or_said(tmp_path):
    one, other = made(tmp_path / "one", [0], (CLIMATE,)), made(tmp_path / "other", [2], (CLIMATE,), size_px=8)
    near = made(tmp_path / "near", [2], (CLIMATE,), move=lambda chip: moved(160 + 300)(make_chip(0)))
    (tmp_path / "both").mkdir()
    spoken = Spoken()
    for second in (other, near):
        with pytest.raises(Fatal, match="both exists; choose another target"):
            Merger(buffer_m=1000.0).write([one, second], tmp_path / "both", False, spoken)
    assert not spoken.sentences
    with pytest.raises(Fatal, match="only corpora of one grid"):
        Merger().write([one, other], tmp_path / "new" / "both", False, spoken)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both", "near", "one", "other"]


def test_the_ground_of_a_corpus_is_computed_once(tmp_path, monkeypatch):
    corpora = [made(tmp_path / f"{number}", [number], (CLIMATE,)) for number in range(3)]
    seen, of = [], Footprints.of

    def counted(manifest: Manifest) -> Footprints:
        seen.append(manifest)
        return of(manifest)

    monkeypatch.setattr(Footprints, "of", counted)
    Merger(buffer_m=1000.0).plan(corpora)
    assert seen == [corpus.manifest for corpus in corpora]


class Spoken(Silent):
    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)


def test_classes_of_both_are_those_of_the_merger(tmp_path):
    more = COVER.with_categories([COVER.categories[0], Category(95, "Mangrove"), *COVER.categories[1:]])
    one, two = made(tmp_path / "one", range(4), (COVER,)), made(tmp_path / "two", range(4, 9), (more,))
    both = merged(tmp_path / "both", one, two)
    assert both.modality("cover").codes == (10, 20, 80, 95)
    (bands,) = both.statistics("cover").values()
    rows = both.manifest.rows_of("train")
    train = both.read("cover", slice(0, 9))[rows]
    assert bands[0].histogram == tuple(int((train == code).sum()) for code in (10, 20, 80, 95))
    other = COVER.with_categories([replace(COVER.categories[0], name="Bare"), *COVER.categories[1:]])
    three = made(tmp_path / "three", range(10, 12), (other,))
    with pytest.raises(Fatal, match="'cover' is not the same in .*class 10 is 'Tree cover' in one and 'Bare'"):
        merged(tmp_path / "all", one, three)


def test_ranges_that_bands_have_in_one_corpus_are_those_of_both(tmp_path):
    red, *others = OPTICAL.bands
    later = replace(OPTICAL, bands=(replace(red, valid_range=(1, 5000)), *others))
    one, two = made(tmp_path / "one", range(8), (OPTICAL,)), made(tmp_path / "two", range(8, 16), (later,))
    for name, pair in (("ahead", (one, two)), ("behind", (two, one))):
        both = merged(tmp_path / name, *pair)
        assert both.modality("optical").ranges == ((1, 5000), (1, 20000), (1, 20000))
        values = both.read("optical", slice(0, 16))
        for group, bands in both.statistics("optical").items():
            rows = [row for row in both.manifest.rows_of("train") if both.manifest.column("level")[row] == group]
            stored = values[rows, 0][values[rows, 0] != 0]
            counts, _ = np.histogram(np.clip(stored, 1, 5000), 64, (1, 5000))
            assert bands[0].histogram == tuple(counts.tolist()) and len(counts[counts > 0]) > 3
        assert not verification.verify(both.folder, Silent()).faults


def test_layers_that_mean_something_else_are_refused_and_may_be_left_out(tmp_path):
    one = made(tmp_path / "one", range(4), (CLIMATE, replace(OPTICAL, scale=1e-3)))
    two = made(tmp_path / "two", range(4, 6), (replace(CLIMATE, licence=Licence("CC0-1.0")), OPTICAL))
    with pytest.raises(Fatal, match="layer 'optical' is not the same in .* \\(its scale differs\\); .*--layer"):
        merged(tmp_path / "both", one, two)
    both = merged(tmp_path / "both", one, two, layers=("climate",))
    assert list(both.modalities) == ["climate"] and both.modality("climate").licence == Licence("CC0-1.0")
    with pytest.raises(Fatal, match="did you mean 'climate'"):
        merged(tmp_path / "other", one, two, layers=("climat",))


def test_what_cannot_be_one_corpus_is_refused(tmp_path):
    one, two = made(tmp_path / "one", range(4), (CLIMATE,)), made(tmp_path / "two", range(4, 6), (CLIMATE,), size_px=8)
    with pytest.raises(Fatal, match="8 px of 10 m, and those of .* 16 px of 10 m"):
        merged(tmp_path / "both", one, two)
    with pytest.raises(Fatal, match="merge needs two corpora"):
        merge([one.folder], tmp_path / "both", Merger(), None, False, Silent())
    with pytest.raises(Fatal, match="holds the corpus itself"):
        Merger().write([one, made(tmp_path / "three", [9], (CLIMATE,))], one.folder, True, Silent())
    assert len(Corpus.open(one.folder).manifest) == 4
