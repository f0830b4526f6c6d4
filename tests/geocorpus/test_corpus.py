"""A corpus as people open it: by a string or a path, its chips, its arrays, and what it refuses."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import geocorpus
from pipeline.manifest import Manifest
from tests.buckets import BUCKET, service
from tests.extras import needs_torch
from tests.pipeline.chips import make_manifest
from tests.pipeline.own_tables import make_own_manifest, with_own
from tests.training.corpora import ALL, make_corpus


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder)
    return folder


def test_a_folder_is_opened_by_string_and_by_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    for name in (folder, str(folder), f"~/{folder.name}", os.path.relpath(folder)):
        opened = geocorpus.open(name)
        assert type(opened) is geocorpus.Corpus and set(opened.modalities) == {item.name for item in ALL}
    assert type(geocorpus.Corpus.open(str(folder))) is geocorpus.Corpus


def test_a_chip_is_its_row_with_its_layers(folder: Path) -> None:
    opened = geocorpus.open(folder)
    for row in (0, 7, 8, 19):
        chip, expected = opened.chip(row), opened.manifest[row]
        assert isinstance(chip, geocorpus.Chip) and chip.row == row
        for part in ("location", "grid", "acquisition", "split"):
            assert getattr(chip, part) == getattr(expected, part)
        for name, modality in opened.modalities.items():
            stored = opened.read(name, slice(row, row + 1))[0]
            np.testing.assert_array_equal(chip.stored(name), stored, strict=True)
            np.testing.assert_array_equal(chip.physical(name), modality.physical(stored), strict=True)
    with pytest.raises(FrozenInstanceError):
        chip.row = 3  # type: ignore[misc]


@pytest.mark.parametrize("finalized", [False, True])
def test_xarray_gives_physical_values(tmp_path: Path, finalized: bool) -> None:
    corpus = make_corpus(tmp_path)
    if finalized:
        corpus.finalize()
    opened = geocorpus.open(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # of metadata that are not consolidated
        data = opened.xarray()
    for name, modality in opened.modalities.items():
        if not modality.categories:
            result, expected = data[name][5].to_numpy(), opened.chip(5).physical(name)
            np.testing.assert_allclose(result, expected, rtol=1e-6)
    assert data["echo"].sel(band_echo="down").sizes == {"chip": 20, "y": 32, "x": 32}


def test_what_the_owner_brought_is_on_chips_and_in_xarray(tmp_path: Path) -> None:
    make_corpus(tmp_path, manifest_of=make_own_manifest)
    opened = geocorpus.open(tmp_path)
    data = opened.xarray()
    chip = opened.chip(5)
    assert set(chip.own) == set(opened.manifest.own_columns) and "field" not in data.coords
    assert data["crop"].dims == ("chip",)
    for name in ("crop", "irrigated"):
        told = [chip.own[name] for chip in opened.manifest]
        assert data[name].to_numpy().tolist() == ["" if each is None else str(each) for each in told]
    assert set(data["yield_t"].where(data["crop"] == "maize", drop=True).to_numpy()) == {0.1 + 0.2}
    assert data["sown"].dtype.kind == "M"


@pytest.mark.parametrize("name", ["echo", "x", "time", "chip", "band_echo"])
def test_a_column_called_as_an_array_or_an_axis_is_another_coordinate(tmp_path: Path, name: str) -> None:
    """Tables of plots often have x and y, in metres, beside longitude and latitude."""

    def called_so(folder: Path, count: int, size_px: int) -> Manifest:
        columns = pa.table({name: list(range(count)), f"own_{name}": list(range(count, 2 * count))})
        manifest = with_own(make_manifest(folder, count, size_px), columns)
        manifest.write(folder / "manifest.parquet")
        return manifest

    make_corpus(tmp_path, manifest_of=called_so)
    data = geocorpus.open(tmp_path).xarray()
    assert data["echo"].ndim == 4 and (name not in data.coords or data[name].dtype.kind != "i")
    assert sorted(data[f"own_own_{name}"].to_numpy().tolist()) == list(range(20)), "as own_... is the other column"
    assert sorted(data[f"own_{name}"].to_numpy().tolist()) == list(range(20, 40))


def test_xarray_reads_a_bucket(tmp_path: Path) -> None:
    with service():
        make_corpus(tmp_path, modalities=ALL[:1], store_url=f"s3://{BUCKET}/{tmp_path.name}/corpus.zarr")
        opened = geocorpus.open(tmp_path)
        np.testing.assert_allclose(opened.xarray()["light"][3].to_numpy(), opened.chip(3).physical("light"))


def test_what_there_is_not_is_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    opened = geocorpus.open(folder)
    fatal = geocorpus.errors.Fatal
    with pytest.raises(fatal, match="there is no corpus in .*; check the path, or begin one with `geocorpus build`"):
        geocorpus.open(str(tmp_path))
    for row in (-1, 20):
        with pytest.raises(fatal, match=f"there is no row {row} in .*; its rows are 0 to 19"):
            opened.chip(row)
    with pytest.raises(fatal, match="unknown modality 'lihgt'; did you mean 'light'?"):
        opened.chip(0).stored("lihgt")


def test_arguments_of_another_type_are_refused_in_a_sentence(folder: Path) -> None:
    opened = geocorpus.open(folder)
    chip = opened.chip(0)
    wrong: list[tuple[str, Callable[[], object]]] = [
        ("the folder of a corpus must be a path, not None", lambda: geocorpus.open(None)),  # type: ignore[arg-type]
        ("the folder of a corpus must be a path, not ''", lambda: geocorpus.open("")),
        ("the row of a chip must be a whole number, not '0'", lambda: opened.chip("0")),  # type: ignore[arg-type]
        ("unknown modality None", lambda: opened.modality(None)),  # type: ignore[arg-type]
        ("unknown modality 5", lambda: chip.stored(5)),  # type: ignore[arg-type]
        ("the bands of light must be a list of names", lambda: chip.stored("light", 5)),  # type: ignore[arg-type]
        ("rows are read as a slice", lambda: opened.read("light", 3)),  # type: ignore[arg-type]
        ("unknown modality 'lihgt'", lambda: opened.read("lihgt", slice(0, 1))),
        ("unknown modality 'lihgt'", lambda: opened.statistics("lihgt")),
    ]
    for said, call in wrong:
        with pytest.raises(geocorpus.errors.Fatal, match=said):
            call()
    assert chip.stored("light", "red").shape == (1, 32, 32)
    assert np.array_equal(opened.read("light", slice(-2, None)), opened.read("light", slice(18, 20)))


@needs_torch
def test_a_dataset_of_wrong_arguments_is_refused_in_a_sentence(folder: Path) -> None:
    opened = geocorpus.open(folder)
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("unknown kind of values None; known are: physical, stored", {"values": None}),
        ("modalities must be a list of names, not 5", {"modalities": 5}),
        ("unknown modality 'None'", {"modalities": [None]}),
        ("unknown split 5", {"split": 5}),
        ("bands must say of which modality, as {'name': \\['band', ...\\]}, not \\['red'\\]", {"bands": ["red"]}),
        ("the bands of light must be a list of names, not 5", {"bands": {"light": 5}}),
    ]
    for said, arguments in wrong:
        with pytest.raises(geocorpus.errors.Fatal, match=said):
            opened.torch_dataset(**({"modalities": ["light"]} | arguments))
    train = opened.torch_dataset(["light"])
    for shuffling in ({"seed": None}, {"block_rows": 2.5}, {"mix_blocks": "8"}, {"rank": "0"}, {"ranks": None}):
        with pytest.raises(geocorpus.errors.Fatal, match="must be a whole number, not"):
            train.shuffled(**shuffling)  # type: ignore[arg-type]
    for call in (lambda: train["0"], lambda: train[0:2], lambda: train.shuffled().batches("8")):
        with pytest.raises(geocorpus.errors.Fatal, match="must be a whole number, not"):
            call()


@needs_torch
def test_settings_that_there_are_not_are_refused_in_a_sentence(folder: Path) -> None:
    fatal = geocorpus.errors.Fatal
    with pytest.raises(fatal, match=r"unknown setting 'pretrain.stpes'; did you mean 'pretrain.steps'?"):
        geocorpus.pretrain(folder, stpes=3)
    with pytest.raises(fatal, match=r"a run cannot be called '../elsewhere': give one name, of a folder below runs/"):
        geocorpus.pretrain(folder, run="../elsewhere")
    with pytest.raises(fatal, match="a run cannot be called ''"):
        geocorpus.pretrain(folder, run="")
    with pytest.raises(fatal, match="there is no corpus in .*manifest.parquet"):
        geocorpus.open(folder / "manifest.parquet")


@needs_torch
def test_pretraining_is_the_stage_with_its_settings_as_arguments(folder: Path) -> None:
    settings = {"preset": "demo", "steps": 2, "batch_size": 4, "image_px": 24, "inputs": ["light"], "pictures_every": 0}
    result = geocorpus.pretrain(str(folder), run="tiny", **settings)
    assert result.weights.parent == folder / "runs" / "tiny" and result.steps == 2
    assert geocorpus.pretrain(folder, run="tiny", **settings).samples_per_s == 0  # nothing was left to do
    geocorpus.save_encoder(str(folder / "copy.safetensors"), geocorpus.load_encoder(str(folder / "runs" / "tiny")))
    assert geocorpus.load_encoder(str(folder / "copy.safetensors")).facts["step"] == 2
