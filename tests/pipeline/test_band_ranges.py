"""A band's own valid range: written where there is one, and a layer with one range for all is what it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import growth
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.modality import Band, Modality
from pipeline.progress import Silent
from pipeline.repair import repair
from pipeline.statistics import HISTOGRAM_BINS, BandStatistics, band_statistics, binned_anew, merge
from tests.pipeline.chips import OPTICAL, make_manifest

RELIEF = Modality(
    "relief", "Relief", (Band("height", "m"), Band("slope", "degree", valid_range=(0, 90))), "float32", -9999.0,
    valid_range=(-500, 9000),
)  # fmt: skip
BEFORE = RELIEF.without_ranges_of_bands()


def test_a_layer_with_one_range_is_written_as_before_there_were_others() -> None:
    assert [list(band) for band in OPTICAL.specification()["bands"]] == [["name", "units", "long_name"]] * 3
    assert OPTICAL.digest == "720f652fce63512dae4339282a107247df0b852902ace8ce71e5a25469614773"
    assert BEFORE.specification()["valid_range"] == [-500, 9000]


def test_every_band_has_its_own_or_that_of_the_layer() -> None:
    assert RELIEF.ranges == ((-500, 9000), (0, 90)) and BEFORE.ranges == ((-500, 9000),) * 2
    assert replace(RELIEF, valid_range=None).ranges == (None, (0, 90))
    assert RELIEF.bounds.shape == (2, 2, 1, 1) and replace(RELIEF, extent="image").bounds.tolist() == [
        [-500, 0],
        [9000, 90],
    ]
    assert replace(RELIEF, valid_range=None).bounds[:, 0].ravel().tolist() == [-np.inf, np.inf]


def test_it_survives_the_trip_into_a_store(tmp_path: Path) -> None:
    again = Modality.from_specification(json.loads(json.dumps(RELIEF.specification(), allow_nan=False)))
    assert again == RELIEF != BEFORE and again.digest == RELIEF.digest and again.ranges == RELIEF.ranges
    make_manifest(tmp_path, 6, 8)
    corpus = Corpus.create(tmp_path, [RELIEF], 4)
    assert Corpus.open(tmp_path).modality("relief").ranges == RELIEF.ranges
    corpus.add(RELIEF)


def test_in_units_it_is_in_them() -> None:
    scaled = replace(RELIEF, dtype="int16", scale=0.1, offset=-1.0)
    assert scaled.in_units("float32").ranges == ((-51.0, 899.0), (-1.0, 8.0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"valid_range": ((-500, 9000), (0, 90))}, r"valid_range is not two numbers; a band's own range goes into"),
        ({"valid_range": (1, 2, 3)}, "valid_range is not two numbers"),
        ({"bands": (Band("a", valid_range=(0,)),)}, "the valid_range of its band 'a' is not two numbers, the smaller"),  # type: ignore[arg-type]
        ({"bands": (Band("a", valid_range=(90, 0)),)}, "the valid_range of its band 'a' is not two numbers, the small"),
        ({"bands": (Band("a", valid_range=(-10_000, 0)),)}, "nodata -9999.0 lies in the valid range of its band 'a'"),
        ({"nodata": 100.0}, "nodata 100.0 lies in the valid range of its band 'height'"),
    ],
)
def test_a_range_that_is_none_is_refused_in_one_sentence(change: dict[str, Any], words: str) -> None:
    with pytest.raises(Fatal, match=words) as caught:
        replace(RELIEF, **change)
    assert str(caught.value).count(". ") == 0


def test_every_band_is_counted_over_its_own(seed: int = 3) -> None:
    random = np.random.default_rng(seed)
    for band, top in ((0, 12_000), (1, 95)):
        stored = random.uniform(-3, top, (4, 8, 8)).astype("float32")
        stored[0, 0] = -9999
        low, high = RELIEF.ranges[band] or (0, 0)
        values = np.clip(stored[stored != -9999], low, high)
        expected, _ = np.histogram(values, HISTOGRAM_BINS, (low, high))
        assert band_statistics(RELIEF, band, stored).histogram == tuple(expected.tolist())


def test_bins_go_where_their_middle_lies() -> None:
    slopes = band_statistics(RELIEF, 1, np.linspace(0, 90, 1000, dtype="float32"))
    wide = binned_anew(slopes, RELIEF.ranges[1], BEFORE.ranges[1])
    assert wide.histogram == band_statistics(BEFORE, 1, np.linspace(0, 90, 1000, dtype="float32")).histogram
    assert replace(wide, histogram=slopes.histogram) == slopes
    assert binned_anew(slopes, (0, 90), None).histogram == ()
    assert binned_anew(slopes, (0, 90), (0, 90)) is slopes
    assert sum(binned_anew(slopes, (0, 90), (20, 30)).histogram) == 1000


def test_a_corpus_goes_on_as_it_was_laid_out(tmp_path: Path) -> None:
    make_manifest(tmp_path, 6, 8)
    corpus = Corpus.create(tmp_path, [BEFORE], 4)
    block = np.full((4, 2, 8, 8), 7, "float32")
    corpus.write(corpus.shards[0], "relief", block, {})
    before = (tmp_path / "corpus.zarr/relief/zarr.json").read_bytes()
    later = Corpus.create(tmp_path, [RELIEF], 4)
    assert later.finished("relief") == {0} and later.modality("relief").ranges == BEFORE.ranges
    later.write(later.shards[1], "relief", block[:2], {})
    assert (tmp_path / "corpus.zarr/relief/zarr.json").read_bytes() == before
    (bands,) = merge(entry.summary for entry in later.entries("relief")).values()
    assert [type(band) for band in bands] == [BandStatistics] * 2
    assert np.flatnonzero(bands[1].histogram).tolist() == [int((7 + 500) * HISTOGRAM_BINS / 9500)]


def test_a_layer_laid_out_before_is_mended_as_it_was(tmp_path: Path) -> None:
    make_manifest(tmp_path, 4, 8)
    corpus = Corpus.create(tmp_path, [BEFORE], 4)
    corpus.write(corpus.shards[0], "relief", np.full((4, 2, 8, 8), 7, "float32"), {})
    path = tmp_path / "corpus.zarr/relief/zarr.json"
    before = path.read_bytes()
    path.write_bytes(b"{}")
    assert repair(tmp_path, Silent(), lambda _: {"relief": RELIEF}).found.faults == []
    assert path.read_bytes() == before


@pytest.mark.parametrize("known", [RELIEF, replace(BEFORE, valid_range=(-500, 8000)), replace(BEFORE, title="Other")])
def test_nothing_else_may_differ(known: Modality) -> None:
    assert not growth.is_before_ranges_of(known, RELIEF)
