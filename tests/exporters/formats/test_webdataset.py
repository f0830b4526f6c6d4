"""Tars of samples as the webdataset package reads them, against the corpus itself."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import webdataset as wds

from exporters.formats.choice import Choice
from exporters.formats.convert import write_out
from exporters.formats.format import format_of
from exporters.formats.sample import key_of, members
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.progress import Silent
from tests.pipeline.chips import COVER, MODALITIES, make_block, make_chip
from tests.pipeline.damage import SIZE_PX, fill
from tests.pipeline.own_tables import make_own_manifest

LAYERS = ("climate", "cover", "optical")


def convert(corpus: Corpus, target: Path, choice: Choice | None = None, **options: str) -> Path:
    selection = (choice or Choice()).of(corpus)
    write_out(format_of("webdataset", options), selection, target, options, False, Silent())
    return target


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Twelve chips in shards of four, with owner's columns; row 5 has no cover."""
    folder = tmp_path_factory.mktemp("tars")
    make_own_manifest(folder, 12)
    made = Corpus.create(folder, MODALITIES, 4)
    block = make_block(COVER, 4, SIZE_PX, 1)
    block[1] = COVER.fill
    made.write(made.shards[1], "cover", block, {5: "under clouds"})
    fill(made)
    made.finalize()
    return Corpus.open(folder)


@pytest.fixture(scope="module")
def folder(corpus: Corpus) -> Path:
    return convert(corpus, corpus.folder.parent / "tars", samples="4")


def read(folder: Path, split: str) -> list[dict]:
    """All samples of a split, in order, as a user would read them."""
    return of_tars(sorted(folder.glob(f"{split}-*.tar")))


def of_tars(paths: list[Path]) -> list[dict]:
    return list(wds.WebDataset([str(path) for path in paths], shardshuffle=False, empty_check=False).decode())


@pytest.mark.parametrize("split", ["train", "val"])
def test_every_sample_is_its_chip(corpus, folder, split):
    samples = read(folder, split)
    rows = corpus.manifest.rows_of(split).tolist()
    assert [sample["__key__"] for sample in samples] == [corpus.manifest[row].location.id for row in rows]
    for row, sample in zip(rows, samples, strict=True):
        for name in LAYERS:
            values, stored = sample[f"{name}.npy"], corpus.read(name, slice(row, row + 1))[0]
            assert values.dtype == stored.dtype and np.array_equal(values, stored, equal_nan=values.dtype.kind == "f")
        chip, facts = corpus.manifest[row], sample["json"]
        assert (facts["row"], facts["split"], facts["crs"]) == (row, split, chip.grid.crs)
        assert (facts["transform"], facts["shape"]) == (list(chip.grid.transform), list(chip.grid.shape_yx))
        assert facts["missing"] == ({"cover": "under clouds"} if row == 5 else {})
        assert facts.get("own_plot") == chip.own["plot"]


def test_tars_are_counted_and_layers_described(corpus, folder):
    sizes = json.loads((folder / "sizes.json").read_text())
    assert sizes == {path.name: len(of_tars([path])) for path in sorted(folder.glob("*.tar"))}
    assert sizes == {"train-000000.tar": 4, "train-000001.tar": 4, "train-000002.tar": 1, "val-000000.tar": 3}
    said = json.loads((folder / "layers.json").read_text())
    assert {name: about["dtype"] for name, about in said.items()} == {
        name: corpus.modality(name).dtype for name in LAYERS
    }


def test_equal_selections_are_equal_bytes_and_members_of_a_sample_adjacent(corpus, folder, tmp_path):
    again = convert(corpus, tmp_path / "again", samples="4")
    for path in folder.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()
    with tarfile.open(folder / "train-000000.tar") as tar:
        names = tar.getnames()
        assert {(item.mtime, item.uid, item.uname, item.mode) for item in tar} == {(0, 0, "", 0o644)}
    keys = [name.partition(".")[0] for name in names]
    assert keys == sorted(keys, key=keys.index) and len(keys) == 4 * (1 + len(LAYERS))


def test_a_selection_of_rows_and_layers_in_physical_values(corpus, tmp_path):
    choice = Choice(rows="2,7:9", layers=["optical", "cover"])
    target = convert(corpus, tmp_path / "few", choice, values="physical")
    samples = of_tars(sorted(target.glob("*.tar")))
    assert sorted(sample["json"]["row"] for sample in samples) == [2, 7, 8]
    for sample in samples:
        row = sample["json"]["row"]
        optical = corpus.modality("optical").physical(corpus.read("optical", slice(row, row + 1))[0])
        assert sample["optical.npy"].dtype == np.float32
        assert np.array_equal(sample["optical.npy"], optical.astype(np.float32), equal_nan=True)
        assert sample["cover.npy"].dtype == np.uint8 and "climate.npy" not in sample
    about = json.loads((target / "layers.json").read_text())["optical"]
    assert (about["dtype"], about["nodata"], about["scale"]) == ("float32", "NaN", 1.0)
    assert about["valid_range"] == [1e-4, 2.0]


def test_keys_have_no_dots_and_differ():
    chips = [
        replace(make_chip(row), row=row, location=replace(make_chip(row).location, id=name))
        for row, name in enumerate(["plain", "S2A.tile.7", "a/b", "row-1", "Größe", "__meta__", "x" * 90, "ok-1_2"])
    ]
    keys = [key_of(chip) for chip in chips]
    assert keys == ["plain", "row-1", "row-2", "row-3", "row-4", "row-5", "row-6", "ok-1_2"]
    (name, facts), *_ = members(chips[1], {}, {})
    assert name == "row-1.json" and json.loads(facts)["id"] == "S2A.tile.7"


def test_what_cannot_be_is_refused(corpus, tmp_path):
    for options, words in (({"samples": "0"}, "samples=0"), ({"values": "fysical"}, "did you mean 'physical'")):
        with pytest.raises(Fatal, match=words):
            convert(corpus, tmp_path / "bad", **options)
    assert not any(tmp_path.iterdir())
