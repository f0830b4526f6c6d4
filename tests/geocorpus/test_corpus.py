"""A corpus as people open it: by a string or a path, its chips, its arrays, and what it refuses."""

from __future__ import annotations

import os
import warnings
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

import geocorpus
from tests.buckets import BUCKET, service
from tests.extras import needs_torch
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


def test_xarray_reads_a_bucket(tmp_path: Path) -> None:
    with service():
        make_corpus(tmp_path, modalities=ALL[:1], store_url=f"s3://{BUCKET}/{tmp_path.name}/corpus.zarr")
        opened = geocorpus.open(tmp_path)
        np.testing.assert_allclose(opened.xarray()["light"][3].to_numpy(), opened.chip(3).physical("light"))


def test_what_there_is_not_is_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    opened = geocorpus.open(folder)
    fatal = geocorpus.errors.Fatal
    with pytest.raises(fatal, match="there is no corpus in .*; run `geocorpus export` first, or check the path"):
        geocorpus.open(str(tmp_path))
    for row in (-1, 20):
        with pytest.raises(fatal, match=f"there is no row {row} in .*; its rows are 0 to 19"):
            opened.chip(row)
    with pytest.raises(fatal, match="unknown modality 'lihgt'; did you mean 'light'?"):
        opened.chip(0).stored("lihgt")


@needs_torch
def test_settings_that_there_are_not_are_refused_in_a_sentence(folder: Path) -> None:
    fatal = geocorpus.errors.Fatal
    with pytest.raises(fatal, match=r"unknown setting 'pretrain.stpes'; did you mean 'pretrain.steps'?"):
        geocorpus.pretrain(folder, stpes=3)
    with pytest.raises(fatal, match=r"a run cannot be called '../elsewhere': it names a folder below runs/"):
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
