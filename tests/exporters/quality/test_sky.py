"""Each chip's own share of clouds, shadows and snow: by hand beside what a corpus says, filters, and where it goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import geocorpus
from exporters.formats.choice import Choice
from exporters.formats.corpora.assembly import assemble
from exporters.formats.corpora.composition import Composition
from exporters.modalities.sentinel2 import sentinel2, sentinel2_cloudprod, sentinel2_scl
from exporters.quality import cloud_detector
from exporters.quality.inspection import inspect
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.errors import Fatal
from pipeline.manifest import Manifest
from pipeline.measured import CLOUD, SHADOW, SNOW, column, measured, measured_columns
from pipeline.modality import Modality
from pipeline.progress import Silent
from tests.extras import needs_s2cloudless
from tests.pipeline.chips import make_chip
from tests.pipeline.own_tables import with_own
from tests.pipeline.test_growth import grown

CHIPS, SIZE_PX = 10, 20
NAMES = (CLOUD, SHADOW, SNOW)


def begun(folder: Path, layers: list[Modality], chips: int = CHIPS, shard_rows: int = 4) -> Corpus:
    folder.mkdir(exist_ok=True)
    Manifest.freeze([make_chip(number, SIZE_PX) for number in range(chips)], 0).write(folder / MANIFEST)
    return Corpus.create(folder, layers, shard_rows=shard_rows)


def write(corpus: Corpus, blocks: dict[str, np.ndarray], missing: dict[str, dict[int, str]] | None = None) -> Corpus:
    """All shards, of blocks over all rows."""
    for shard in corpus.shards:
        parts = {name: block[shard.slice] for name, block in blocks.items()}
        reasons = {
            name: {row: why for row, why in (missing or {}).get(name, {}).items() if row in shard.rows}
            for name in parts
        }
        found = inspect(corpus, shard, parts, reasons)
        for name, part in parts.items():
            corpus.write(shard, name, part, reasons[name], found[name])
    return corpus


def scene_classes(rows: int = CHIPS) -> np.ndarray:
    """Row i has i tenths of clouds of all three classes; row 3 a tenth of shadow, row 4 two tenths of snow."""
    block = np.full((rows, 1, SIZE_PX, SIZE_PX), 4, np.uint8)
    for row in range(rows):
        block[row, 0, : 2 * row] = np.array([8, 9, 10], np.uint8)[np.arange(SIZE_PX) % 3]
    block[3, 0, -2:] = 3
    block[4, 0, -4:] = 11
    block[5, 0, -5:] = 7  # low probability, or unclassified
    return block


def probabilities(rows: int = CHIPS) -> np.ndarray:
    block = np.full((rows, 1, SIZE_PX, SIZE_PX), 34, np.uint8)
    block[:, 0, :, :5] = 35
    return block


def test_scene_classes_tell_the_share_of_each_chip(tmp_path: Path) -> None:
    corpus = write(begun(tmp_path, [sentinel2_scl]), {"sentinel2_scl": scene_classes()})
    assert measured_columns(corpus) == tuple(sorted(NAMES))
    np.testing.assert_allclose(measured(corpus, CLOUD), np.arange(CHIPS) * 10.0)
    assert [measured(corpus, SHADOW)[row] for row in (2, 3)] == [0, 10]
    assert [measured(corpus, SNOW)[row] for row in (3, 4)] == [0, 20]


def test_pixels_without_a_class_do_not_count_and_a_chip_without_any_is_not_known(tmp_path: Path) -> None:
    block = scene_classes()
    block[5, 0, 10:15] = 0  # the processor's own "no data"
    block[5, 0, 15:] = sentinel2_scl.nodata
    block[6] = 0
    block[7] = sentinel2_scl.nodata
    missing = {"sentinel2_scl": {7: "level l1c has no scene classes"}}
    result = measured(write(begun(tmp_path, [sentinel2_scl]), {"sentinel2_scl": block}, missing), CLOUD)
    assert result[5] == 100 and np.isnan(result[[6, 7]]).all() and result[8] == 80


def test_classes_are_believed_before_probabilities_which_fill_what_is_not_known(tmp_path: Path) -> None:
    corpus = begun(tmp_path, [sentinel2_scl, sentinel2_cloudprod])
    write(corpus, {"sentinel2_cloudprod": probabilities()})
    assert (measured(corpus, CLOUD) == 25).all() and np.isnan(measured(corpus, SNOW)).all()
    block = scene_classes()
    block[2] = 0
    write(corpus, {"sentinel2_scl": block})
    assert measured(corpus, CLOUD).tolist() == [0, 10, 25, 30, 40, 50, 60, 70, 80, 90]


def test_a_column_is_there_before_it_is_known_and_comes_with_the_shards(tmp_path: Path) -> None:
    corpus = begun(tmp_path, [sentinel2_scl])
    assert np.isnan(measured(corpus, CLOUD)).all() and measured_columns(corpus)
    shard, block = corpus.shards[1], scene_classes()
    found = inspect(corpus, shard, {"sentinel2_scl": block[shard.slice]}, {"sentinel2_scl": {}})
    corpus.write(shard, "sentinel2_scl", block[shard.slice], {}, found["sentinel2_scl"])
    result = measured(corpus, CLOUD)
    assert result[4:8].tolist() == [40, 50, 60, 70] and np.isnan(result[[0, 3, 8, 9]]).all()


def test_conditions_see_it(tmp_path: Path) -> None:
    corpus = write(begun(tmp_path, [sentinel2_scl]), {"sentinel2_scl": scene_classes()})
    where = f"{CLOUD} <= 30 and {SHADOW} == 0"
    assert Choice(where=where).of(corpus).rows.tolist() == [0, 1, 2]
    without = begun(tmp_path / "maps", [replace(sentinel2_scl, observed=None)])
    with pytest.raises(Fatal, match=f"column.*{CLOUD}"):
        Choice(where=where).of(without)


def test_python_sees_it_with_its_units(tmp_path: Path) -> None:
    write(begun(tmp_path, [sentinel2_scl]), {"sentinel2_scl": scene_classes()}).finalize()
    corpus = geocorpus.open(tmp_path)
    data = corpus.xarray()
    assert data[CLOUD].attrs["units"] == "percent" and data[CLOUD].dims == ("chip",)
    np.testing.assert_array_equal(data[CLOUD], corpus.column(CLOUD))
    assert data.where(data[CLOUD] < 25, drop=True).sizes["chip"] == 3
    assert corpus.column("level").tolist() == corpus.manifest.column("level").tolist()
    with pytest.raises(Fatal, match="chip_cloud_percent"):
        corpus.column("chip_clouds_percent")


def test_the_frozen_manifest_and_the_layer_do_not_move(tmp_path: Path) -> None:
    corpus = begun(tmp_path, [sentinel2_scl])
    before = (tmp_path / MANIFEST).read_bytes(), corpus.manifest.digest
    write(corpus, {"sentinel2_scl": scene_classes()})
    assert ((tmp_path / MANIFEST).read_bytes(), Corpus.open(tmp_path).manifest.digest) == before


def test_the_owners_column_of_that_name_is_the_owners(tmp_path: Path) -> None:
    plain = Manifest.freeze([make_chip(number, SIZE_PX) for number in range(6)], 0)
    with_own(plain, pa.table({CLOUD: pa.array([77.0] * 6)})).write(tmp_path / MANIFEST)
    corpus = write(Corpus.create(tmp_path, [sentinel2_scl], 4), {"sentinel2_scl": scene_classes(6)})
    assert column(corpus, CLOUD).tolist() == [77.0] * 6 and measured_columns(corpus) == (SHADOW, SNOW)


@pytest.mark.parametrize("rows", [[8, 2, 5, 0], [0, 1, 2, 3], [4, 5, 6, 7]])
def test_chips_of_another_corpus_keep_it(tmp_path: Path, rows: list[int]) -> None:
    corpus = write(begun(tmp_path / "all", [sentinel2_scl]), {"sentinel2_scl": scene_classes()})
    which = np.zeros(len(rows), np.int8)
    chosen = Composition((corpus,), which, np.array(rows), (corpus.modality("sentinel2_scl"),))
    made = assemble(chosen, tmp_path / "some", 4, "convert", Silent())
    assert measured(made, CLOUD).tolist() == [row * 10.0 for row in rows]


def test_an_earlier_state_has_its_own_rows(tmp_path: Path) -> None:
    corpus = write(begun(tmp_path, [sentinel2_scl], chips=6, shard_rows=8), {"sentinel2_scl": scene_classes(6)})
    before = corpus.manifest.digest
    grown(tmp_path, 6, 9, SIZE_PX)
    corpus = Corpus.create(tmp_path, [sentinel2_scl], 8)
    assert np.isnan(measured(corpus, CLOUD)).all(), "the shard that had fewer rows is not finished"
    write(corpus, {"sentinel2_scl": scene_classes(9)})
    assert measured(corpus, CLOUD).tolist() == [row * 10.0 for row in range(9)]
    assert measured(corpus.at(before), CLOUD).tolist() == [row * 10.0 for row in range(6)]


def surface(rows: int) -> np.ndarray:
    """Dark ground in all bands."""
    random = np.random.default_rng(0)
    return random.integers(600, 900, (rows, 13, SIZE_PX, SIZE_PX)).astype(np.uint16)


def test_without_the_detector_level_1c_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_detector, "_detector", lambda: None)
    corpus = write(begun(tmp_path, [sentinel2]), {"sentinel2": surface(CHIPS)})
    assert measured_columns(corpus) == (CLOUD,) and np.isnan(measured(corpus, CLOUD)).all()


class Brightness:
    """Stands in for s2cloudless, as its own is a package: clouds are what is bright in the second band (blue)."""

    def get_cloud_masks(self, data: np.ndarray) -> np.ndarray:
        assert data.shape == (1, 5, 5, 10) and data.max() <= 1
        return (data[..., 1] > 0.3).astype(np.uint8)


def test_a_detector_looks_at_level_1c_alone_in_its_own_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_detector, "_detector", Brightness)
    block = surface(CHIPS)
    block[:, sentinel2.band_names.index("B2"), :8] = 5000
    corpus = write(begun(tmp_path, [sentinel2]), {"sentinel2": block})
    levels = corpus.manifest.column("level")
    assert measured(corpus, CLOUD)[levels == "l1c"].tolist() == [40.0] * int((levels == "l1c").sum())
    assert np.isnan(measured(corpus, CLOUD)[levels == "l2a"]).all() and {"l1c", "l2a"} == set(levels)


def test_sides_that_cannot_be_averaged_are_filled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_detector, "_detector", Brightness)
    values = np.full((10, 18, 17), 0.1)
    values[1, 16:] = 0.8
    found = cloud_detector.clouds(values)
    assert found is not None and found.shape == (18, 17) and found[16:].all() and not found[:16].any()


# Reflectance at the top of the atmosphere in the ten bands, made up to look like a meadow and like a thick cloud.
MEADOW = (0.13, 0.10, 0.07, 0.11, 0.32, 0.35, 0.12, 0.002, 0.20, 0.11)
THICK_CLOUD = (0.62, 0.60, 0.62, 0.64, 0.68, 0.70, 0.35, 0.02, 0.48, 0.38)


@needs_s2cloudless
def test_s2cloudless_tells_a_thick_cloud_from_a_meadow() -> None:
    grain = np.random.default_rng(0).normal(1, 0.02, (10, 64, 64))
    values = np.where(np.arange(64) < 32, np.array(THICK_CLOUD)[:, None, None], np.array(MEADOW)[:, None, None]) * grain
    found = cloud_detector.clouds(values)
    assert found is not None and found[:, :24].all() and not found[:, 56:].any()
