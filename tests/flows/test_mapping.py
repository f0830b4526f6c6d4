"""Maps of what models say: read by rasterio, beside the model itself called by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray

from tests.extras import NO_TORCH

pytest.importorskip("torch", reason=NO_TORCH)

import torch

from exporters.formats.choice import Choice
from exporters.formats.format import formats
from flows.embedding_source import PER
from flows.finetuning import FINETUNED, finetune
from flows.mapping import Destination, Map, features_kind, prediction_kind
from flows.settings import parse
from pipeline.chip import Chip
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.progress import Silent
from tests.pipeline.chips import make_block, make_manifest
from tests.training.conftest import one_thread  # noqa: F401 (a fixture that every test here uses)
from tests.training.corpora import GROUND
from tests.training.corpora import LIGHT as DARK
from training.architecture import Size
from training.evaluate.finetuned import Finetuned, load_finetuned
from training.evaluate.legend import Legend
from training.evaluate.tasks.multi_label import MultiLabel
from training.layer import layer_of
from training.model.encoder import Encoder, initialise
from training.model.normalisation import Normalisation
from training.weights.pretrained import Pretrained
from training.weights.weights import save_encoder

LIGHT = replace(DARK, bands=tuple(replace(band, units="m") for band in DARK.bands))
SIZE_PX, CENTRE = 20, slice(2, 18)  # patches are of 8 px
ROW = 3


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Ten chips whose first corner of 12 px has no input; an encoder; a model per pixel, and one per chip."""
    folder = tmp_path_factory.mktemp("maps")
    make_manifest(folder, 10, SIZE_PX)
    corpus = Corpus.create(folder, [LIGHT, GROUND], 4)
    for shard in corpus.shards:
        for modality in (LIGHT, GROUND):
            block = make_block(modality, len(shard), SIZE_PX, shard.index)
            if modality is LIGHT:
                block[:, :, :12, :12] = modality.fill
            corpus.write(shard, modality.name, block, {})
    corpus.finalize()
    normalisation = Normalisation.of([layer_of(corpus, "light", {})])
    torch.manual_seed(0)
    encoder = Encoder(normalisation.channels, Size((1, 1, 1, 1), (4, 4, 4, 6)), 8)
    initialise(encoder)
    save_encoder(folder / "runs" / "one" / "encoder.safetensors", Pretrained(encoder, normalisation))
    for per in ("pixel", "chip"):
        data = {"weights": str(folder / "runs" / "one"), "label": "ground", "per": per, "epochs": 1, "device": "cpu"}
        finetune(parse({"corpus": {"folder": str(folder)}, "finetune": data}), Silent())
    return Corpus.open(folder)


def written(kind: str | None, weights: Path, target: Path, **options: str) -> Path:
    texts = tuple(f"{key}={value}" for key, value in options.items() if key != "to")
    Destination(target, options.get("to"), texts).write(
        Map(features_kind(kind) if kind in PER else prediction_kind(kind), str(weights), None),
        Choice(rows=f"{ROW},5"),
        Silent(),
    )
    return target


def model(corpus: Corpus, per: str) -> tuple[Path, Finetuned]:
    path = corpus.folder / FINETUNED / f"ground-{per}.safetensors"
    return path, load_finetuned(path)


def image(corpus: Corpus, normalisation: Normalisation) -> tuple[torch.Tensor, np.ndarray]:
    """The input of one chip, and where it has data."""
    stored = corpus.read("light", slice(ROW, ROW + 1))[:, :, CENTRE, CENTRE]
    bands = [LIGHT.band_names.index(name) for name in normalisation.band_names["light"]]
    level = corpus.manifest[ROW].acquisition.level
    return normalisation.image({"light": stored[:, bands]}, level), (stored[0, bands] != 0).any(axis=0)


def file_of(folder: Path, layer: str, chip: Chip) -> Path:
    return folder / layer / "0000" / f"{chip.location.id}_{layer}.tif"


def test_a_class_map_is_what_the_model_predicts_where_there_is_input(corpus, tmp_path):
    path, tuned = model(corpus, "pixel")
    chip = corpus.manifest[ROW]
    given, seen = image(corpus, tuned.normalisation)
    with torch.no_grad():
        codes = np.array([30, 10, 20])[tuned.model(given).argmax(1)[0].numpy()]
    out = written("class", path, tmp_path / "maps")
    left, top = chip.grid.origin_xy
    with rasterio.open(file_of(out, "ground_predicted", chip)) as file:
        assert np.array_equal(file.read(1), np.where(seen, codes, 255)) and (~seen).sum() >= 100
        assert file.crs.to_string() == chip.grid.crs and file.nodata == 255
        assert file.transform == rasterio.Affine(10, 0, left + 20, 0, -10, top - 20) and file.shape == (16, 16)
        assert file.colormap(1)[30] == (0x88, 0x88, 0x88, 255)
        tags = file.tags()
        assert (tags["class_10"], tags["class_20"], tags["class_30"]) == ("Wood", "Water", "Rock")
        assert tags["id"] == chip.location.id and tags["reference"] == path.name
    assert len(list((out / "mosaics").glob("*.vrt"))) == len({corpus.manifest[row].grid.crs for row in (ROW, 5)})


def test_probabilities_are_those_of_the_model_and_add_up_to_one(corpus, tmp_path):
    path, tuned = model(corpus, "pixel")
    given, seen = image(corpus, tuned.normalisation)
    with torch.no_grad():
        theirs = tuned.model(given).softmax(1)[0].numpy()
    out = written("probability", path, tmp_path / "maps", compress="zstd")
    with rasterio.open(file_of(out, "ground_probability", corpus.manifest[ROW])) as file:
        pixels = file.read()
        assert file.descriptions == ("rock", "wood", "water") and np.isnan(file.nodata)
    np.testing.assert_allclose(pixels, np.where(seen, theirs, np.nan), atol=1e-6)
    np.testing.assert_allclose(pixels.sum(axis=0)[seen], 1, atol=1e-5)


def test_a_model_per_chip_gives_a_pixel_of_the_size_of_its_image(corpus, tmp_path):
    path, tuned = model(corpus, "chip")
    chip, (given, _) = corpus.manifest[ROW], image(corpus, tuned.normalisation)
    with torch.no_grad():
        code = (30, 10, 20)[int(tuned.model(given).argmax(1))]
    left, top = chip.grid.origin_xy
    with rasterio.open(file_of(written("class", path, tmp_path / "maps"), "ground_predicted", chip)) as file:
        assert file.read().tolist() == [[[code]]]
        assert tuple(file.bounds) == (left + 20, top - 180, left + 180, top - 20)


def test_features_per_patch_have_a_pixel_each_and_per_chip_are_their_mean(corpus, tmp_path):
    run = corpus.folder / "runs" / "one"
    from training.weights.weights import load_encoder

    pretrained = load_encoder(run)
    chip, (given, seen) = corpus.manifest[ROW], image(corpus, pretrained.normalisation)
    with torch.no_grad():
        theirs = pretrained.encoder(given)[0].numpy()
    left, top = chip.grid.origin_xy
    with rasterio.open(file_of(written("patch", run, tmp_path / "patch"), "embedding", chip)) as file:
        pixels = file.read()
        assert file.count == 6 and file.transform == rasterio.Affine(80, 0, left + 20, 0, -80, top - 20)
    unseen = ~seen.reshape(2, 8, 2, 8).any(axis=(1, 3))
    assert unseen.tolist() == [[True, False], [False, False]]
    np.testing.assert_allclose(pixels, np.where(unseen, np.nan, theirs), atol=1e-5)
    with rasterio.open(file_of(written("chip", run, tmp_path / "chip"), "embedding", chip)) as file:
        np.testing.assert_allclose(file.read()[:, 0, 0], theirs.mean(axis=(1, 2)), atol=1e-5)


def test_maps_go_into_the_unsharded_store_as_well(corpus, tmp_path):
    path, _ = model(corpus, "pixel")
    chip = corpus.manifest[ROW]
    tif, store = written("class", path, tmp_path / "tif"), written("class", path, tmp_path / "maps.zarr", to="zarr")
    with (
        rasterio.open(file_of(tif, "ground_predicted", chip)) as one,
        rasterio.open(f'ZARR:"{store}":/0000/{chip.location.id}/ground_predicted') as other,
    ):
        assert np.array_equal(one.read(), other.read()) and one.transform == other.transform and one.crs == other.crs


@pytest.mark.parametrize(("kind", "resolution_m"), [("patch", 80.0), ("chip", 10.0)])
def test_a_map_by_layer_says_where_its_own_pixels_are(corpus, tmp_path, kind, resolution_m):
    run = corpus.folder / "runs" / "one"
    chips = [corpus.manifest[row] for row in (ROW, 5)]
    store = written(kind, run, tmp_path / "maps.zarr", to="zarr", by="layer")
    with xarray.open_zarr(store) as data:
        assert data["resolution_m"].values.tolist() == [resolution_m] * 2
        assert data["origin_x_m"].values.tolist() == [chip.grid.origin_xy[0] + 20 for chip in chips]
        assert data["origin_y_m"].values.tolist() == [chip.grid.origin_xy[1] - 20 for chip in chips]
        assert data["chip"].values.tolist() == [chip.location.id for chip in chips]


def test_a_model_without_a_legend_has_indices_as_codes(corpus, tmp_path):
    path, tuned = model(corpus, "pixel")
    Finetuned(tuned.model, tuned.normalisation, tuned.classes).save(tmp_path / "old.safetensors")
    shown = Map(prediction_kind("class"), str(tmp_path / "old.safetensors"), corpus.folder).open()
    assert [(item.code, item.name) for item in shown.modality("class_predicted").categories] == [
        (0, "Rock"), (1, "Wood"), (2, "Water")
    ]  # fmt: skip
    assert len({item.colour for item in shown.modality("class_predicted").categories}) == 3


def test_refusals(corpus, tmp_path):
    path, _ = model(corpus, "pixel")
    run = corpus.folder / "runs" / "one"
    for kind, weights, folder, words in [
        (prediction_kind("class"), run, None, "not in the finetuned of a corpus"),
        (prediction_kind("class"), run, corpus.folder, "holds an encoder and no fine-tuned model"),
        (features_kind("patch"), path, None, "not in the runs of a corpus"),
    ]:
        with pytest.raises(Fatal, match=words):
            Map(kind, str(weights), folder).open()
    for show, words in (
        ("classes", "--show: 'classes'; did you mean 'class'"),
        ("number", "ground-pixel.safetensors is of single-label labels, which have no number to show; it shows class"),
    ):
        with pytest.raises(Fatal, match=words):
            Map(prediction_kind(show), str(path), None).open()
    unfit = next(item.name for item in formats().values() if not item.takes_computed)
    with pytest.raises(Fatal, match="no format for maps; choose one of cog, geotiff"):
        written("class", path, tmp_path / "maps", to=unfit)
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize("per", ["pixel", "chip"])
def test_numbers_are_those_of_the_model_in_the_units_of_the_layer(corpus, tmp_path, per):
    data = {"weights": str(corpus.folder / "runs" / "one"), "label": "light", "per": per, "epochs": 1, "device": "cpu"}
    finetune(parse({"corpus": {"folder": str(corpus.folder)}, "finetune": data}), Silent())
    path = corpus.folder / FINETUNED / f"light-{per}.safetensors"
    tuned, chip = load_finetuned(path), corpus.manifest[ROW]
    given, seen = image(corpus, tuned.normalisation)
    moments = tuned.task.to_dict()
    with torch.no_grad():
        outputs = tuned.model(given)[0].double().numpy()
    shape = (-1, *(1,) * (outputs.ndim - 1))
    theirs = outputs * np.reshape(moments["std"], shape) + np.reshape(moments["mean"], shape)
    with rasterio.open(file_of(written(None, path, tmp_path / "maps"), "light_predicted", chip)) as file:
        pixels = file.read()
        assert file.dtypes[0] == "float32" and np.isnan(file.nodata) and file.units == ("m",) * file.count
        assert file.descriptions == tuned.classes and file.tags()["title"] == "light, predicted"
    expected = np.where(seen, theirs, np.nan) if per == "pixel" else theirs[:, None, None]
    np.testing.assert_allclose(pixels, expected, rtol=1e-5)


def test_several_labels_have_a_band_each_with_its_own_probability(corpus, tmp_path):
    tuned = model(corpus, "chip")[1]
    labels = MultiLabel(("wet snow", "wood", "wood"))
    legend = Legend.of_names("cover", labels.names)
    several = Finetuned(tuned.model, tuned.normalisation, labels.names, legend=legend, labels=labels)
    several.save(tmp_path / "several.safetensors")
    chip, (given, _) = corpus.manifest[ROW], image(corpus, tuned.normalisation)
    with torch.no_grad():
        theirs = 1 / (1 + np.exp(-tuned.model(given)[0].double().numpy()))
    shown = Map(prediction_kind(), str(tmp_path / "several.safetensors"), corpus.folder)
    Destination(tmp_path / "maps").write(shown, Choice(rows=str(ROW)), Silent())
    with rasterio.open(file_of(tmp_path / "maps", "cover_probability", chip)) as file:
        np.testing.assert_allclose(file.read()[:, 0, 0], theirs, rtol=1e-5)
        assert file.descriptions == ("wet_snow_0", "wood_1", "wood_2") and file.tags(1)["long_name"] == "wet snow"
    with pytest.raises(Fatal, match="several.safetensors is of multi-label labels, which have no class to show"):
        Map(prediction_kind("class"), str(tmp_path / "several.safetensors"), corpus.folder).open()
