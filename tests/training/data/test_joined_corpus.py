"""Several corpora as one: their rows, statistics and layers against those of each, and what cannot be joined."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.manifest import Manifest
from pipeline.modality import Band, Category, Modality
from pipeline.statistics import merge
from tests.pipeline.chips import make_chip
from tests.training.corpora import ALL, CONFIG, CULTURE, ECHO, GROUND, LIGHT, SIZE_PX, chips_of, make_corpus
from training.data.agreement import crossing
from training.data.centre import read_centre
from training.data.joined_corpus import JoinedCorpus, joined
from training.data.order import shards_of
from training.layer import group_indices_of, layer_of
from training.pretrain.presence import has_data
from training.pretrain.resolved_run import resolve_run

FIRST = 100  # the number of the second corpus's first chip, so that the two have no place in common


def other_manifest(folder: Path, count: int, size_px: int, first: int = FIRST, px: int = 0, m: float = 10) -> Manifest:
    """As `make_manifest`, of other places."""
    splits = ["val" if number % 5 == 0 else "train" for number in range(count)]
    chips = [replace(make_chip(first + number, px or size_px), split=split) for number, split in enumerate(splits)]
    chips = [replace(chip, grid=replace(chip.grid, resolution_m=m)) for chip in chips]
    manifest = Manifest.freeze(chips, 1)
    manifest.write(folder / "manifest.parquet")
    return manifest


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Thirteen chips, in shards of another length, of three of the layers of `corpus`."""
    return make_corpus(tmp_path_factory.mktemp("other"), 13, (LIGHT, ECHO, CULTURE), 5, manifest_of=other_manifest)


@pytest.fixture(scope="module")
def both(corpus: Corpus, other: Corpus) -> JoinedCorpus:
    result = joined([corpus, other])
    assert isinstance(result, JoinedCorpus)
    return result


def test_one_alone_is_itself(corpus: Corpus) -> None:
    assert joined([corpus]) is corpus


def test_rows_follow_one_another(corpus: Corpus, other: Corpus, both: JoinedCorpus) -> None:
    assert len(both.manifest) == 33 and both.manifest.size_px == SIZE_PX
    for name in ("id", "split", "level", "lon"):
        expected = [*corpus.manifest.column(name), *other.manifest.column(name)]
        assert both.manifest.column(name).tolist() == expected
    shards = [(shard.start, shard.stop) for shard in both.shards]
    assert shards == [(0, 8), (8, 16), (16, 20), (20, 25), (25, 30), (30, 33)]
    assert shards_of(both, np.array([0, 19, 20, 24, 25, 32])).tolist() == [0, 2, 3, 3, 4, 5]
    rows = np.array([3, 18, 19, 20, 24, 25, 31])
    for name in ("light", "culture"):
        expected = np.concatenate([corpus.read(name, slice(0, 20)), other.read(name, slice(0, 13))])
        np.testing.assert_array_equal(both.read(name, slice(5, 28)), expected[5:28])
        centre = expected[rows][..., 4:28, 4:28] if name == "light" else expected[rows]
        np.testing.assert_array_equal(read_centre(both, name, rows, 24), centre)


def test_a_layer_that_one_lacks_is_missing_there(both: JoinedCorpus) -> None:
    assert set(both.modalities) == {item.name for item in ALL} and not both.missing()
    assert (both.read("ground", slice(18, 33))[2:] == 255).all() and (both.read("ground", slice(0, 20)) != 255).any()
    assert has_data(both, "ground", np.array([0, 19, 20, 32])).tolist() == [True, True, False, False]
    resolved = resolve_run(both, replace(CONFIG, inputs=("light", "ground"), presence=True))
    batch = next(item for item in map(resolved.loader.batch, range(6)) if min(item.rows) < 20 <= max(item.rows))
    seen = batch.valid["ground"].flatten(1).any(1).tolist()
    assert seen == [row < 20 for row in batch.rows]


def test_statistics_are_those_of_all_train_rows_together(both: JoinedCorpus) -> None:
    """Against plain moments of the values, by group."""
    train = both.manifest.column("split") == "train"
    for modality in (LIGHT, ECHO, GROUND):
        stored, column = both.read(modality.name, slice(0, 33)), modality.statistics_by
        groups = both.manifest.column(column).astype(str) if column else np.full(33, "all")
        statistics = both.statistics(modality.name)
        assert set(statistics) == set(groups)
        for group, bands in statistics.items():
            for index, band in enumerate(bands):
                values = stored[train & (groups == group), index]
                values = values[modality.valid(values)].astype(np.float64)
                assert band.count == values.size
                if values.size:
                    assert (band.mean, band.std) == pytest.approx((values.mean(), values.std()), rel=1e-9)
    layer = layer_of(both, "light", {})
    assert group_indices_of(both, layer).tolist() == layer.group_indices(both.manifest.column("level")).tolist()


def test_every_train_chip_of_all_comes_once_an_epoch(both: JoinedCorpus) -> None:
    loader = resolve_run(both, replace(CONFIG, batch_size=5)).loader
    train = np.flatnonzero(both.manifest.column("split") == "train")
    for epoch in range(3):
        assert sorted(loader.order(epoch).tolist()) == train.tolist()
    batch, stored = loader.raw(1, slice(0, 5)), both.read("culture", slice(0, 33))
    assert batch.stored["culture"][:, 0].tolist() == stored[list(batch.rows), 0].tolist()
    assert loader.position(0).shard == shards_of(both, loader.order(0)[:1])[0]


def test_larger_chips_give_their_centres(corpus: Corpus, tmp_path: Path) -> None:
    manifest = other_manifest(tmp_path, 6, 48)
    large = Corpus.create(tmp_path, (ECHO,), 4)
    blocks = np.arange(6 * 2 * 48 * 48, dtype=np.float32).reshape(6, 2, 48, 48)
    for shard in large.shards:
        large.write(shard, "echo", blocks[shard.slice], {})
    both = joined([corpus, large])
    assert both.manifest.size_px == SIZE_PX and manifest.size_px == 48
    np.testing.assert_array_equal(both.read("echo", slice(20, 26)), blocks[:, :, 8:40, 8:40])
    centre = read_centre(both, "echo", np.array([2, 21, 24]), 24)
    np.testing.assert_array_equal(centre[1:], blocks[[1, 4]][:, :, 12:36, 12:36])
    chip = both.manifest[20].grid
    assert (chip.shape_yx, chip.origin_xy[0]) == ((32, 32), manifest[0].grid.origin_xy[0] + 8 * 10)
    with pytest.raises(Fatal, match="image_px 48 is larger than the corpus's 32 px chips"):
        resolve_run(both, replace(CONFIG, inputs=("echo",), image_px=48))


def test_it_travels_and_is_for_reading_alone(both: JoinedCorpus) -> None:
    again = pickle.loads(pickle.dumps(both))  # noqa: S301 (our own bytes)
    assert again.manifest.digest == both.manifest.digest and again.folder == both.folder.absolute()
    block = both.read("culture", slice(0, 8))
    with pytest.raises(Fatal, match="are joined for reading only; open the one to write to"):
        both.write(both.shards[0], "culture", block, {})


def test_chips_are_left_out_by_the_rows_and_ids_of_all(both: JoinedCorpus) -> None:
    ids = both.manifest.column("id")
    loader = resolve_run(both, replace(CONFIG, leave_out=(21, str(ids[2])))).loader
    assert not {2, 21} & set(loader.rows.tolist())


def renamed(modality: Modality, **changes: Any) -> Modality:
    return replace(modality, **changes)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (renamed(ECHO, bands=(Band("up", "dB"), Band("left", "dB"))), r"has bands up \[dB\], left \[dB\] in .* and up"),
        (renamed(ECHO, bands=(Band("up"), Band("down"))), r"has bands up \[1\], down \[1\] in"),
        (renamed(ECHO, dtype="float64"), "layer 'echo' has dtype float64 in .* and float32 in .*; leave it out of"),
        (renamed(ECHO, scale=0.5), "layer 'echo' has scale 0.5 in"),
    ],
)
def test_layers_that_disagree_are_one_sentence(corpus: Corpus, tmp_path: Path, layer: Modality, message: str) -> None:
    manifest = other_manifest(tmp_path, 5, SIZE_PX)
    other = Corpus.create(tmp_path, (LIGHT, layer), 8)
    for shard in other.shards:
        other.write(shard, "light", chips_of(LIGHT, manifest, shard.rows), {})
        other.write(shard, "echo", chips_of(layer, manifest, shard.rows), {})
    with pytest.raises(Fatal, match=message) as refusal:
        resolve_run(joined([corpus, other]), replace(CONFIG, inputs=("light", "echo")))
    assert "\n" not in str(refusal.value)
    assert resolve_run(joined([corpus, other]), replace(CONFIG, targets=("@all", "-echo"))).steps == 6


def test_classes_of_all_are_those_of_the_layer(corpus: Corpus, tmp_path: Path) -> None:
    """As for ecoregions, whose class table follows from the places: counts and indices are by code."""
    ground = replace(GROUND, categories=(Category(40, "Ice"), Category(20, "Water"), Category(10, "Wood")))
    other = make_corpus(tmp_path, 5, (LIGHT, ground), manifest_of=other_manifest)
    both = joined([corpus, other])
    assert both.modality("ground").codes == (30, 10, 20, 40)
    stored = both.read("ground", slice(0, 25))[both.manifest.column("split") == "train"]
    stored = stored[np.isin(stored, (10, 20, 30)) & (stored != 255)]
    (band,) = both.statistics("ground")["all"]
    counted = band.histogram[1:3]
    assert counted == (np.count_nonzero(stored == 10), np.count_nonzero(stored == 20)) and len(band.histogram) == 4
    loader = resolve_run(both, replace(CONFIG, inputs=("light", "ground"))).loader
    (layer,) = (item for item in loader._layers if item.name == "ground")
    assert layer.classes == 4 and layer.values(np.array([[40], [10]]), ())[0].tolist() == [[3], [1]]


def test_a_class_that_means_two_things_is_one_sentence(corpus: Corpus, tmp_path: Path) -> None:
    ground = replace(GROUND, categories=(Category(10, "Rock"), Category(30, "Wood"), Category(20, "Water")))
    other = make_corpus(tmp_path, 5, (LIGHT, ground), manifest_of=other_manifest)
    with pytest.raises(Fatal, match="class 10 of layer 'ground' is 'Rock' in .* and 'Wood' in .*; leave the layer out"):
        resolve_run(joined([corpus, other]), CONFIG)


def test_what_cannot_be_joined_is_one_sentence(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="are the same, or one has grown from the other; name each once in pretrain.also"):
        joined([corpus, Corpus.open(corpus.folder)])
    coarse = make_corpus(tmp_path / "a", 5, (LIGHT,), manifest_of=partial(other_manifest, m=20))
    with pytest.raises(Fatal, match="have pixels of 10 m and those in .* of 20 m; join corpora of one resolution"):
        joined([corpus, coarse])
    blind = make_corpus(tmp_path / "b", 5, (ECHO,), manifest_of=other_manifest)
    with pytest.raises(Fatal, match="has none of the inputs light; leave it out of pretrain.also"):
        resolve_run(joined([corpus, blind]), CONFIG)


def test_places_on_both_sides_of_a_split_are_said(corpus: Corpus, other: Corpus, tmp_path: Path) -> None:
    assert crossing([corpus, other]) == ""
    shifted = make_corpus(tmp_path, 5, (LIGHT,), manifest_of=partial(other_manifest, first=1))
    said = crossing([corpus, shifted])
    assert "Some train chips in " in said and "(centres 0 m apart)" in said


def ranged(own: tuple[float, float] | None) -> Modality:
    up, down = ECHO.bands
    return replace(ECHO, valid_range=(-200.0, 200.0), bands=(up, replace(down, valid_range=own)))


def test_ranges_that_bands_have_in_one_alone_are_those_of_the_layer(tmp_path: Path) -> None:
    old = make_corpus(tmp_path / "old", 8, (LIGHT, ranged(None)), 4)
    new = make_corpus(tmp_path / "new", 8, (LIGHT, ranged((-40.0, 0.0))), 4, manifest_of=other_manifest)
    for parts in ([old, new], [new, old]):
        result = joined(parts)
        assert result.modality("echo").ranges == ((-200, 200),) * 2
        values = [part.read("echo", slice(0, 8))[row, 1] for part in parts for row in part.manifest.rows_of("train")]
        stored = np.stack(values)[ECHO.valid(np.stack(values))]
        (bands,) = result.statistics("echo").values()
        expected, _ = np.histogram(stored, 64, (-200, 200))
        assert sum(bands[1].histogram) == bands[1].count == stored.size
        found = np.asarray(bands[1].histogram)
        assert np.abs(np.cumsum(found) - np.cumsum(expected)).max() <= expected.max(), "to a bin"
        summaries = [entry.summary for entry in result.entries("echo")]
        assert merge(summaries)["all"][1].histogram == bands[1].histogram
    assert joined([new]).modality("echo").ranges[1] == (-40, 0)


def test_a_band_of_two_ranges_is_refused(tmp_path: Path) -> None:
    one = make_corpus(tmp_path / "one", 8, (LIGHT, ranged((-50.0, 0.0))), 4)
    new = make_corpus(tmp_path / "new", 8, (LIGHT, ranged((-40.0, 0.0))), 4, manifest_of=other_manifest)
    with pytest.raises(Fatal, match=r"band 'down' of layer 'echo' has the valid range \(-40.0, 0.0\) in .*; leave the"):
        joined([one, new]).modality("echo")
