"""Maps of an area: one GeoTIFF from rasters, by the same nets as for chips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.extras import NO_TORCH

pytest.importorskip("torch", reason=NO_TORCH)

import torch
from typer.testing import CliRunner

from flows.area import Area, feature_area, prediction_area
from flows.terminal.cli import app
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.progress import Silent
from tests.training.conftest import one_thread  # noqa: F401 (a fixture that every test here uses)
from tests.training.corpora import LIGHT
from tests.training.embedded import convnext_of
from tests.training.sensor_corpus import make_sensors
from training.evaluate.finetuned import Finetuned
from training.evaluate.legend import Legend
from training.evaluate.tasks.regression import Regression
from training.model.classifier import Classifier
from training.model.unet import UNet
from training.weights.weights import load_encoder, save_encoder

LEFT, TOP = 500_000.0, 6_000_000.0
SHAPE_YX = (180, 300)
CLASSES = ("rock", "wood", "water")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder of `light`, a model of pixels, and a scene of it in one file and in two halves."""
    folder = tmp_path_factory.mktemp("area")
    corpus: Corpus = make_sensors(folder / "corpus", 10)
    save_encoder(folder / "encoder.safetensors", convnext_of(corpus, ["light"]))
    pretrained = convnext_of(corpus, ["light"])
    torch.manual_seed(1)
    Finetuned(UNet(pretrained.encoder, 3).eval(), pretrained.normalisation, CLASSES).save(folder / "model.safetensors")
    values = np.random.default_rng(0).integers(500, 2500, (3, *SHAPE_YX)).astype(np.uint16)
    values[:, :40, :60] = 0
    write(folder / "scene.tif", values, LEFT)
    (folder / "halves").mkdir()
    write(folder / "halves" / "west.tif", values[:, :, :160], LEFT)
    write(folder / "halves" / "east.tif", values[:, :, 140:], LEFT + 1400)
    return folder


def write(path: Path, values: np.ndarray, left: float, names: tuple[str, ...] = ("green", "haze", "red")) -> None:
    """Bands in another order than the layer's."""
    profile = {"count": len(values), "dtype": values.dtype, "height": values.shape[1], "width": values.shape[2]}
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, left, 0, -10, TOP), "nodata": 0}
    with rasterio.open(path, "w", driver="GTiff", **profile, **place) as file:
        file.write(values)
        file.descriptions = names


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read()


def test_features_of_a_scene_are_those_of_its_tiles_and_blend(folder: Path) -> None:
    shown, target = feature_area(str(folder / "encoder.safetensors"), None, (), "l2a"), folder / "features.tif"
    line = Area((str(folder / "scene.tif"),), 0.0).write(shown, target, False, Silent())
    assert line == "38 by 23 pixels of 80 m, 128 bands."
    with rasterio.open(target) as file:
        assert file.crs.to_epsg() == 32633 and file.transform == rasterio.Affine(80, 0, LEFT, 0, -80, TOP)
        assert file.count == 128 and np.isnan(file.nodata)
    pretrained = load_encoder(folder / "encoder.safetensors")
    scene = read(folder / "scene.tif")[[2, 0]]  # red and green
    with torch.no_grad():
        tile = pretrained.encoder(pretrained.normalisation.image({"light": scene[None, :, :128, :128]}, "l2a"))[0]
    expected = np.where((scene[:, :128, :128] == 0).all(0).reshape(16, 8, 16, 8).all((1, 3)), np.nan, tile.numpy())
    np.testing.assert_allclose(read(target)[:, :7, :16], expected[:, :7], rtol=1e-4, atol=1e-5)
    Area((str(folder / "scene.tif"),)).write(shown, target, True, Silent())
    assert np.isnan(read(target)[0]).sum() == 5 * 7


def test_classes_of_a_scene_are_the_likeliest_of_the_blended(folder: Path) -> None:
    model = str(folder / "model.safetensors")
    whole = Area((f"light={folder / 'scene.tif'}",))
    whole.write(prediction_area(model, "probability", "l2a"), folder / "odds.tif", False, Silent())
    assert whole.write(prediction_area(model, "class", "l2a"), folder / "classes.tif", False, Silent()).startswith(
        "300"
    )
    odds, classes = read(folder / "odds.tif"), read(folder / "classes.tif")[0]
    seen = (read(folder / "scene.tif")[[0, 2]] != 0).any(axis=0)
    assert np.array_equal(np.isnan(odds).any(axis=0), ~seen) and np.array_equal(classes == 255, ~seen)
    np.testing.assert_allclose(odds[:, seen].sum(axis=0), 1, atol=1e-5)
    assert np.array_equal(classes[seen], odds.argmax(axis=0)[seen])
    assert (folder / "classes.tif.aux.xml").exists() and len(np.unique(classes[seen])) > 1
    with rasterio.open(folder / "classes.tif") as file:
        assert file.tags()["class_2"] == "water" and file.shape == SHAPE_YX


def test_two_files_that_overlap_are_one_scene(folder: Path) -> None:
    shown = feature_area(str(folder / "encoder.safetensors"), None, (), "l2a")
    Area((str(folder / "scene.tif"),)).write(shown, folder / "one.tif", False, Silent())
    Area((str(folder / "halves"),)).write(shown, folder / "two.tif", False, Silent())
    assert np.array_equal(read(folder / "one.tif"), read(folder / "two.tif"), equal_nan=True)


def test_what_makes_no_map_of_an_area_is_said(folder: Path, tmp_path: Path) -> None:
    encoder, target = str(folder / "encoder.safetensors"), tmp_path / "x.tif"
    write(tmp_path / "other.tif", np.ones((2, 9, 9), np.uint16), LEFT, ("blue", "red"))
    (tmp_path / "empty").mkdir()
    for words, over, level in (
        ("other.tif has blue, red, and layer 'light' needs red, green", "other.tif", "l2a"),
        ("unknown layer of --over: 'night'", "night=other.tif", "l2a"),
        ("holds no GeoTIFFs", "empty", "l2a"),
        ("say which the rasters hold with --level", str(folder / "scene.tif"), None),
        ("unknown value of --level: 'l2b'; did you mean", str(folder / "scene.tif"), "l2b"),
    ):
        where = over if "=" in over else str(tmp_path / over)
        with pytest.raises(Fatal, match=words):
            Area((where,)).write(feature_area(encoder, None, (), level), target, False, Silent())
    with pytest.raises(Fatal, match="unknown view 'ligth'; did you mean 'light'"):
        feature_area(encoder, "ligth", (), "l2a")
    with pytest.raises(Fatal, match="holds an encoder and no fine-tuned model"):
        prediction_area(encoder, "class", "l2a")
    assert LIGHT.name == "light" and not target.exists()


def test_numbers_of_an_area_blend_and_those_of_whole_images_have_a_pixel_each(folder: Path, tmp_path: Path) -> None:
    pretrained, scene = load_encoder(folder / "encoder.safetensors"), read(folder / "scene.tif")[[2, 0]]
    labels = Regression(("Height", "mass"), (20.0, 3e4), (5.0, 1e3))
    legend = Legend("trees", units=("m", "kg"))
    torch.manual_seed(2)
    dense, whole = UNet(pretrained.encoder, 2).eval(), Classifier(pretrained.encoder, 2).eval()
    torch.nn.init.normal_(whole.head.weight)
    for name, net in (("dense", dense), ("whole", whole)):
        tuned = Finetuned(net, pretrained.normalisation, labels.names, legend=legend, labels=labels, image_yx=(60, 60))
        tuned.save(tmp_path / f"{name}.safetensors")
        shown = prediction_area(str(tmp_path / f"{name}.safetensors"), None, "l2a")
        Area((str(folder / "scene.tif"),), 0.25).write(shown, tmp_path / f"{name}.tif", False, Silent())

    def plain(net: torch.nn.Module, top: int, left: int, edge: int) -> np.ndarray:
        image = pretrained.normalisation.image({"light": scene[None, :, top : top + edge, left : left + edge]}, "l2a")
        with torch.no_grad():  # 60 px and no multiple of the patch: 4 px without data beside them
            wide = torch.nn.functional.pad(image, (0, -edge % 8, 0, -edge % 8))
            found = net(wide)[0].double().numpy()
        return found * np.reshape([5.0, 1e3], (2, *(1,) * (found.ndim - 1))) + np.reshape(
            [20.0, 3e4], (2, *(1,) * (found.ndim - 1))
        )

    with rasterio.open(tmp_path / "dense.tif") as file:
        values = file.read()
        assert file.units == ("m", "kg") and file.descriptions == labels.names and np.isnan(file.nodata)
        assert file.dtypes == ("float32",) * 2 and file.tags()["layer"] == "trees_predicted"
    ramp = np.minimum(np.arange(128) + 1, 128 - np.arange(128)) / 64.0
    first, second = plain(dense, 0, 0, 128), plain(dense, 0, 96, 128)
    here = np.s_[100, 100:124]  # of the two tiles of the upper row; the lower row begins at 52
    below, beside = plain(dense, 52, 0, 128), plain(dense, 52, 96, 128)
    parts = [(first, 100, 0), (second, 100, 96), (below, 48, 0), (beside, 48, 96)]
    weights = [ramp[row] * ramp[100 - left : 124 - left] for _, row, left in parts]
    blended = sum(
        weight * part[:, row, 100 - left : 124 - left] for (part, row, left), weight in zip(parts, weights, strict=True)
    ) / np.sum(weights, axis=0)
    np.testing.assert_allclose(values[:, here[0], here[1]], blended, rtol=1e-4)
    with rasterio.open(tmp_path / "whole.tif") as file:
        assert file.shape == (3, 5) and file.transform.a == 600
        np.testing.assert_allclose(file.read()[:, 1, 3], plain(whole, 60, 180, 60), rtol=1e-4)
        assert file.read(1, masked=True).mask.sum() == 0  # the corner without data is no whole image


def test_pixels_in_degrees_and_several_processes_are_refused(folder: Path, tmp_path: Path) -> None:
    with rasterio.open(folder / "scene.tif") as file:
        profile, values, names = file.profile, file.read(), file.descriptions
    profile |= {"crs": "EPSG:4326", "transform": rasterio.Affine(1e-4, 0, 15, 0, -1e-4, 54)}
    with rasterio.open(tmp_path / "degrees.tif", "w", **profile) as file:
        file.write(values)
        file.descriptions = names
    profile |= {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, LEFT, 0, -9.5, TOP)}
    with rasterio.open(tmp_path / "uneven.tif", "w", **profile) as file:
        file.write(values)
        file.descriptions = names
    encoder, target = str(folder / "encoder.safetensors"), tmp_path / "x.tif"
    over = ["--over", str(tmp_path / "degrees.tif"), "--level", "l2a"]
    uneven = ["--over", str(tmp_path / "uneven.tif"), "--level", "l2a"]
    for more, words in (
        (uneven, "uneven.tif has pixels of 10 by 9.5, which are not square, and a map needs"),
        (over, "degrees.tif has pixels in degrees, not metres; warp it to UTM"),
        ([*over, "--processes", "2"], "rasters are written by one process; leave --processes out, or write --to emb"),
        (["--processes", "2"], "rasters are written by one process"),
    ):
        run = CliRunner().invoke(app, ["embed", encoder, str(target), *more])
        assert isinstance(run.exception, Fatal) and words in str(run.exception)
    assert not target.exists()


def test_a_model_of_whole_images_says_when_it_makes_no_map(folder: Path, tmp_path: Path) -> None:
    pretrained = load_encoder(folder / "encoder.safetensors")
    model = Finetuned(Classifier(pretrained.encoder, 3).eval(), pretrained.normalisation, CLASSES)
    for size, words in ((None, "older than the size of images in it"), ((64, 48), "64 x 48 px.* needs squares")):
        replace(model, image_yx=size).save(tmp_path / "model.safetensors")
        with pytest.raises(Fatal, match=words):
            prediction_area(str(tmp_path / "model.safetensors"), None, "l2a")
