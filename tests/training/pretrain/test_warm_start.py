"""A run that begins with weights that there are: which parameters it takes, what it says, and what it refuses.

No published file was at hand: the tests make one to its layout, with heads in its own order of channels.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from exporters.modalities.biome import biome
from exporters.modalities.esa_worldcover import esa_worldcover
from exporters.modalities.lat import lat
from exporters.modalities.sentinel2 import sentinel2
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.modality import Modality
from tests.training.corpora import CONFIG
from tests.training.published_sparse import make_checkpoint, make_state
from training.architecture import SIZES
from training.batch import Batch
from training.config import PretrainConfig
from training.layer import Layer
from training.methods.mpmae import MPMAE
from training.model.normalisation import Normalisation
from training.pretrain.resolved_run import resolve_run
from training.pretrain.train import RUN, Trainer, pretrain
from training.pretrain.warm_start import WarmStart, _fitting
from training.weights import checkpoint
from training.weights.channels import channels_of
from training.weights.portable import portable
from training.weights.warm_source import inputs_by_layer, read_source

SHORT = replace(CONFIG, steps=2, checkpoint_every=2)


@pytest.fixture(scope="module")
def first(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that predicts three layers."""
    folder = tmp_path_factory.mktemp("first")
    pretrain(corpus.folder, replace(SHORT, targets=("light", "ground", "culture")), folder)
    return folder


def state_of_run(folder: Path) -> dict[str, Tensor]:
    return checkpoint.read(sorted((folder / "checkpoints").glob("*.pt"))[-1])["model"]


def begun(corpus: Corpus, folder: Path, init: Path | str, **changes) -> Trainer:
    """A run before its first step."""
    return Trainer(resolve_run(corpus, replace(SHORT, init=str(init), **changes)), folder)


def test_a_run_goes_on_from_another_with_its_layers_in_another_order(
    corpus: Corpus, first: Path, tmp_path: Path
) -> None:
    trainer = begun(corpus, tmp_path, first, targets=("culture", "weather", "ground"), seed=9)
    mine, theirs = trainer.model.state_dict(), state_of_run(first)
    for name, item in theirs.items():
        if not name.startswith(("heads.", "log_variances")):
            assert torch.equal(mine[name], item), name
    for ours, others in (("heads.0.", "heads.2."), ("heads.2.", "heads.1.")):
        for name in mine:
            if name.startswith(ours):
                assert torch.equal(mine[name], theirs[others + name.removeprefix(ours)]), name
    assert mine["log_variances"].tolist() == [theirs["log_variances"][2], 0.0, theirs["log_variances"][1]]
    assert trainer.began_with == (
        f"began with the weights of {first} (step 2): the encoder, the decoder, the head of culture, the head of "
        "ground, the log variance of culture and the log variance of ground; new are the head of weather and the log "
        "variance of weather; optimiser and schedule begin anew"
    )


def test_bands_in_another_order_are_found_by_name(corpus: Corpus, first: Path, tmp_path: Path) -> None:
    bands = {"light": ("green", "red")}
    trainer = begun(corpus, tmp_path, first, targets=("light",), bands=bands)
    mine, theirs = trainer.model.state_dict(), state_of_run(first)
    name = "encoder.initial_conv.0.weight"
    assert torch.equal(mine[name], theirs[name][:, [1, 0]])
    head = theirs["heads.0.expand.weight"]
    assert torch.equal(mine["heads.0.expand.weight"], torch.cat([head[64:], head[:64]]))


def test_it_says_so_in_the_log_in_run_json_and_on_the_card_also_after_a_stop(
    corpus: Corpus, first: Path, tmp_path: Path
) -> None:
    source = shutil.copytree(first, tmp_path / "source")
    config, folder = replace(SHORT, init=str(source), targets=("light", "ground", "culture")), tmp_path / "run"
    pretrain(corpus.folder, config, folder)
    sentence = json.loads((folder / RUN).read_text())["began_with"]
    assert "nothing is new" in sentence and f"- The run {sentence}." in (folder / "model_card.md").read_text()
    shutil.rmtree(source)  # A run that has begun does not need it again.
    (folder / "model_card.md").unlink()
    pretrain(corpus.folder, config, folder)
    assert json.loads((folder / RUN).read_text())["began_with"] == sentence
    assert f"- The run {sentence}." in (folder / "model_card.md").read_text()


def test_an_encoder_alone_and_one_decoder_for_each_target(corpus: Corpus, first: Path, tmp_path: Path) -> None:
    theirs = state_of_run(first)
    alone = begun(corpus, tmp_path / "a", first / "encoder.safetensors", seed=5)
    assert torch.equal(alone.model.state_dict()["encoder.stem.0.weight"], theirs["encoder.stem.0.weight"])
    assert not torch.equal(alone.model.state_dict()["proj.weight"], theirs["proj.weight"])
    assert "the encoder; new are the decoder, the head of culture" in alone.began_with
    each = begun(corpus, tmp_path / "b", first, decoder="per-task", seed=5).model.state_dict()
    for index in range(6):
        assert torch.equal(each[f"decoders.{index}.0.dwconv.weight"], theirs["decoders.0.0.dwconv.weight"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"encoder": "atto"},
            r"is zepto, modified stem, patch 8 px, and that of this run atto, modified stem, patch 8 px",
        ),
        (
            {"stem": "original"},
            r"and that of this run zepto, original stem, patch 8 px; make pretrain.encoder, pretrain",
        ),
        ({"bands": {"light": ("red",)}}, "look at light red and light green, and this run at light red; make pretrain"),
        (
            {"inputs": ("light", "echo")},
            "and light green, and this run at light red, light green, echo up and echo down",
        ),
    ],
)
def test_other_sizes_and_bands_are_one_sentence(
    corpus: Corpus, first: Path, tmp_path: Path, changes: dict, message: str
) -> None:
    with pytest.raises(Fatal, match=message) as refusal:
        pretrain(corpus.folder, replace(SHORT, init=str(first), **changes), tmp_path / "run")
    assert "\n" not in str(refusal.value) and not (tmp_path / "run").exists()


def test_no_weights_are_one_sentence(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="there are no weights at"):
        pretrain(corpus.folder, replace(SHORT, init=str(tmp_path / "nowhere")), tmp_path / "run")


PUBLISHED = {"sentinel2": 12, "lat": 2, "biome": 14, "eco_region": 846, "esa_worldcover": 11}
BANDS = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8A", "B8", "B9", "B11", "B12"]
OURS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")
PATCH, WIDTH = 8, 16


def published(path: Path) -> tuple[Path, dict[str, Tensor]]:
    """A checkpoint in the published layout with a decoder, heads and log variances of its own."""
    random, size = torch.Generator().manual_seed(2), SIZES["zepto"]
    state = make_state(size.depths, size.widths, 12, PATCH, "modified")

    def put(name: str, *shape: int) -> None:
        state[name] = torch.randn(*shape, generator=random)

    put("proj.weight", WIDTH, size.widths[-1], 1, 1)
    put("proj.bias", WIDTH)
    put("mask_token", 1, WIDTH, 1, 1)
    for part in ("weight", "bias"):
        put(f"layer_norm_tmp.{part}", WIDTH)
    block = {"dwconv.weight": (WIDTH, 1, 7, 7), "dwconv.bias": (WIDTH,), "norm.weight": (WIDTH,),
             "norm.bias": (WIDTH,),
             "pwconv1.weight": (4 * WIDTH, WIDTH), "pwconv1.bias": (4 * WIDTH,), "grn.gamma": (1, 1, 1, 4 * WIDTH),
             "grn.beta": (1, 1, 1, 4 * WIDTH), "pwconv2.weight": (WIDTH, 4 * WIDTH),
             "pwconv2.bias": (WIDTH,)}  # fmt: skip
    for name, shape in block.items():
        put(f"decoder_dict.sentinel2.0.{name}", *shape)
        for layer in PUBLISHED:  # The same decoder stands in the file once for each.
            state[f"decoder_dict.{layer}.0.{name}"] = state[f"decoder_dict.sentinel2.0.{name}"]
    for layer, channels in PUBLISHED.items():
        pixels = layer in ("sentinel2", "esa_worldcover")
        rows = channels * PATCH**2 if pixels else channels
        put(f"pred_dict.{layer}.weight", rows, WIDTH, *((1, 1) if pixels else ()))
        put(f"pred_dict.{layer}.bias", rows)
    put("loss_fn.log_vars", len(PUBLISHED))
    make_checkpoint(path, {})
    torch.save({"model": state, "epoch": 199}, path)
    return path, state


def layer(modality: Modality, bands: tuple[str, ...] = ()) -> Layer:
    names = bands or modality.band_names
    return Layer(modality, tuple(modality.band_names.index(name) for name in names), {})


def warmed(path: Path, inputs: list[Layer], targets: list[Layer], config: PretrainConfig) -> tuple[MPMAE, WarmStart]:
    net = MPMAE(inputs, targets, config)
    channels = {
        item.name: channels_of([item.modality.band_names[b] for b in item.bands], item.classes) for item in targets
    }
    mine = portable(net.state_dict(), inputs_by_layer(Normalisation.of(inputs)), channels)
    start = WarmStart(mine, _fitting(mine, read_source(str(path)), "mpmae"))
    start.take()
    return net, start


def test_a_published_checkpoint_predicts_what_its_own_heads_do(tmp_path: Path) -> None:
    """Decoded features through their head, in their order (patch row, patch column, channel), against our maps."""
    path, state = published(tmp_path / "checkpoint-199.pth")
    config = PretrainConfig(encoder="zepto", image_px=16, patch_px=PATCH, decoder_width=WIDTH, skip_hidden=False)
    targets = [layer(lat), layer(esa_worldcover), layer(sentinel2, OURS), layer(biome)]
    net, start = warmed(path, [layer(sentinel2, OURS)], targets, config)
    assert start.mine.keys() == start.theirs.keys()
    assert net.log_variances.tolist() == [state["loss_fn.log_vars"][index].item() for index in (1, 4, 0, 2)]
    image = torch.randn(1, 12, 16, 16, generator=torch.Generator().manual_seed(3))
    visible = torch.tensor([[[True, False], [True, True]]])
    batch = Batch({"sentinel2": image}, {"sentinel2": torch.ones_like(image, dtype=torch.bool)}, visible, (0,))
    by_name = dict(zip((item.name for item in targets), net(batch), strict=True))
    decoded = net._decoded(batch)[0][0].detach().numpy().astype(np.float64)
    for name, channels, order in (
        ("sentinel2", 12, [BANDS.index(band) for band in OURS]), ("esa_worldcover", 11, range(11)),
    ):  # fmt: skip
        weight, bias = (state[f"pred_dict.{name}.{part}"].double().numpy() for part in ("weight", "bias"))
        maps = np.empty((channels, 16, 16))
        for y, x in np.ndindex(2, 2):
            patch = (weight[:, :, 0, 0] @ decoded[:, y, x] + bias).reshape(PATCH, PATCH, channels)
            for row, column, channel in np.ndindex(PATCH, PATCH, channels):
                maps[channel, y * PATCH + row, x * PATCH + column] = patch[row, column, channel]
        np.testing.assert_allclose(by_name[name][0].detach().numpy(), maps[list(order)], rtol=1e-4, atol=1e-4)


def test_classes_of_a_published_head_are_ours_by_name(tmp_path: Path) -> None:
    """Their first biome is tundra, which is number 11 of the ecoregions' table; ecoregions themselves are left out."""
    path, state = published(tmp_path / "checkpoint-199.pth")
    config = PretrainConfig(encoder="zepto", image_px=16, patch_px=PATCH, decoder_width=WIDTH)
    net, _ = warmed(path, [layer(sentinel2, OURS)], [layer(biome)], config)
    names = [category.name for category in biome.categories]
    theirs = ["Tundra", "Tropical & Subtropical Moist", "Mediterranean", "Deserts", "Temperate Grass", "Boreal",
              "Temperate Conifer", "Temperate Broadleaf", "Montane", "Mangroves", "Flooded",
              "Tropical & Subtropical Grass", "Tropical & Subtropical Dry", "Tropical & Subtropical Conif"]  # fmt: skip
    places = [next(index for index, name in enumerate(names) if name.startswith(item)) for item in theirs]
    assert torch.equal(net.state_dict()["heads.0.weight"][places], state["pred_dict.biome.weight"])
    assert "eco_region" not in {name.split(".")[1] for name in read_source(str(path)).parameters if "heads" in name}


def test_an_encoder_of_a_published_checkpoint_keeps_its_bands_by_name(tmp_path: Path) -> None:
    path, state = published(tmp_path / "checkpoint-199.pth")
    config = PretrainConfig(encoder="zepto", image_px=16, patch_px=PATCH, decoder_width=WIDTH)
    net, _ = warmed(path, [layer(sentinel2, OURS)], [layer(lat)], config)
    kernel = net.state_dict()["encoder.initial_conv.0.weight"]
    theirs = state["encoder.initial_conv.0.kernel"].reshape(3, 3, 12, -1)  # x, y, in, out
    for index, band in enumerate(OURS):
        assert torch.equal(kernel[:, index], theirs[:, :, BANDS.index(band)].permute(2, 1, 0))
