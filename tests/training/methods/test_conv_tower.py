"""MP-MAE's encoder as the tower of a sensor: what it sees and is told, its gradients, its files, and how it begins."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.training.corpora import CONFIG
from tests.training.pretrain.test_train import Recorder, Stopped, assert_same_state
from tests.training.sensor_corpus import CONTRASTIVE, SENSORS, make_sensors
from training.architecture import SIZES, Architecture
from training.evaluate.embedder import Embedder
from training.evaluate.finetune import finetune
from training.evaluate.probe import embed
from training.evaluate.recipe import RECIPES
from training.evaluate.samples import Samples
from training.methods.contrastive import Contrastive
from training.model.conv_tower import ConvTower
from training.model.encoder import Encoder
from training.model.image import image_of
from training.model.tower import Tower
from training.pretrain.pretext_net import build_net
from training.pretrain.resolved_run import resolve_run
from training.pretrain.step import Step
from training.pretrain.train import Trainer, pretrain
from training.rank_slice import RankSlice
from training.runtime.device import Device
from training.runtime.distributed_context import DistributedContext
from training.weights.encoders import load_encoders
from training.weights.weights import load_encoder

OPTIONS = {"tower": "zepto", "embedding_width": 16, "towers": {"light": "convnext:zepto", "echo": "convnext:zepto"}}
MIXED = replace(CONTRASTIVE, options=OPTIONS, steps=3, checkpoint_every=1)


@pytest.fixture(scope="module")
def sensors(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_sensors(tmp_path_factory.mktemp("sensors"))


@pytest.fixture(scope="module")
def run(sensors: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of a run of two ConvNeXts and a ViT, and its last checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    return folder, pretrain(sensors.folder, MIXED, folder).checkpoint


@pytest.fixture
def tower() -> ConvTower:
    """Three channels and their planes, patches of 8."""
    torch.manual_seed(0)
    return ConvTower(Architecture(6, SIZES["zepto"], 8), 16, "fan-in").double().eval()


def pictures(rows: int = 4) -> tuple[Tensor, Tensor]:
    """Images of three channels of 24 px with planes that say all are there, and where they are known."""
    random = torch.Generator().manual_seed(1)
    values = torch.randn(rows, 3, 24, 24, generator=random, dtype=torch.float64)
    known = torch.rand(rows, 3, 3, 3, generator=random) < 0.7
    return torch.cat([values, torch.ones_like(values)], dim=1), known


def test_what_is_not_known_has_no_effect(tower: ConvTower) -> None:
    image, known = pictures()
    other = image.clone()
    inside = known.repeat_interleave(8, 2).repeat_interleave(8, 3)
    other[:, :3] = torch.where(inside, image[:, :3], torch.nan)
    assert torch.equal(tower.embedding(image, known), tower.embedding(other, known))
    assert not torch.equal(tower.embedding(image, known), tower.embedding(image))


def test_it_is_the_mean_over_known_patches_of_the_masked_encoder(tower: ConvTower) -> None:
    """Against the plain encoder: a patch without any channel is hidden, and counts in no mean."""
    image, known = pictures()
    known[:, :, 0, 1] = False
    shown = image.clone()
    shown[:, :3] *= known.repeat_interleave(8, 2).repeat_interleave(8, 3)
    shown[:, 3:] = known.flatten(2).any(2)[:, :, None, None]
    visible = known.any(1)
    features = tower.alone()(shown, visible)
    pooled = torch.stack([item[:, mask].mean(1) for item, mask in zip(features, visible, strict=True)])
    expected = functional.normalize(tower.projection(tower.fc_norm(pooled)), dim=1)
    torch.testing.assert_close(tower.embedding(image, known), expected)


def test_a_channel_that_is_absent_is_not_its_mean(tower: ConvTower) -> None:
    image, known = pictures()
    known[:] = True
    without = known.clone()
    without[:, 1] = False
    zeroed = image.clone()
    zeroed[:, 1] = 0
    assert not torch.allclose(tower.embedding(zeroed, known), tower.embedding(image, without))
    zeroed[:, 4] = 0  # its plane
    torch.testing.assert_close(tower.embedding(zeroed), tower.embedding(image, without))


def test_nothing_at_all_is_finite_and_teaches_nothing(tower: ConvTower) -> None:
    image, known = pictures()
    known[1] = False
    vectors = tower.embedding(image, known)
    vectors[1].sum().backward()
    gradients = [item.grad for item in tower.parameters() if item.grad is not None]
    assert bool(torch.isfinite(vectors).all()) and all(bool(torch.isfinite(item).all()) for item in gradients)


def test_gradients_reach_every_weight_in_any_parts(sensors: Corpus) -> None:
    resolved = resolve_run(sensors, MIXED)
    gradients = []
    for micro_batches in (1, 3):
        step = Step(build_net(resolved), resolved.config, Device.of(MIXED), DistributedContext())
        stream = resolved.loader.batches(0, 1, rank_slice=RankSlice(micro_batches=micro_batches))
        step.take(list(stream), 8, 0.0)
        stream.close()
        gradients.append({name: item.grad for name, item in step.model.named_parameters()})
    assert all(item is not None and bool(item.abs().sum() > 0) for item in gradients[0].values())
    for name, item in gradients[0].items():
        torch.testing.assert_close(item, gradients[1][name], rtol=1e-3, atol=1e-6, msg=name)


def test_stopped_and_relaunched_is_as_if_never_stopped(sensors: Corpus, run: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        pretrain(sensors.folder, MIXED, tmp_path, Recorder(2))
    assert_same_state(pretrain(sensors.folder, MIXED, tmp_path).checkpoint, run[1])


def test_its_file_is_one_like_any_encoder_s(sensors: Corpus, run: tuple[Path, Path]) -> None:
    loaded = load_encoder(run[0] / "encoder-light.safetensors")
    assert isinstance(loaded.encoder, ConvTower) and loaded.normalisation.channels == 4
    trainer = Trainer(resolve_run(sensors, MIXED), run[0])
    net, batch = trainer.model.eval(), trainer.resolved.loader.batch(0)
    assert isinstance(net, Contrastive)
    tower = net.tower("light")
    assert all(torch.equal(item, tower.state_dict()[name]) for name, item in loaded.encoder.state_dict().items())
    image = image_of(loaded.normalisation.layers, batch.values, batch.valid)
    assert embed(loaded.encoder, image).shape == (8, 128)
    assert "(convnext:zepto of light, convnext:zepto of echo and zepto of ground)" in (
        run[0] / "model_card.md"
    ).read_text().replace("An encoder for each sensor ", "")
    kinds = {item.normalisation.layers[0].name: type(item.encoder) for item in load_encoders(run[0])}
    assert kinds == {"light": ConvTower, "echo": ConvTower, "ground": Tower}


def test_chips_are_embedded_in_the_space_of_all(sensors: Corpus, run: tuple[Path, Path]) -> None:
    embedder = Embedder.of(load_encoders(run[0]))
    rows = np.arange(8)
    vectors = embedder.embed(sensors, rows)
    assert embedder.width == 16 and set(embedder.views) == {*SENSORS, "fused"}
    assert np.isnan(vectors["echo"]).all(axis=1).tolist() == [row % 4 == 1 for row in rows]
    np.testing.assert_allclose(np.linalg.norm(vectors["light"], axis=1), 1, rtol=1e-5)
    without = embedder.embed(sensors, rows, without=["light.green"])
    assert not np.allclose(without["light"], vectors["light"])
    assert np.array_equal(without["ground"], vectors["ground"])


def test_it_is_fine_tuned_as_a_convnext(run: tuple[Path, Path]) -> None:
    loaded = load_encoder(run[0] / "encoder-echo.safetensors")
    random = np.random.default_rng(0)
    samples = Samples({"echo": random.normal(-10, 3, (4, 2, 24, 24)).astype(np.float32)}, np.array([0, 1, 0, 1]),
                      ("a", "b"), ["l1c"] * 4)  # fmt: skip
    tuned = finetune(loaded, samples, replace(RECIPES["full"], epochs=1))
    assert type(tuned.model.encoder) is Encoder and np.isfinite(tuned.losses).all()


def test_it_begins_with_an_encoder_of_mp_mae(sensors: Corpus, tmp_path: Path) -> None:
    """Of two layers: each tower takes its own bands' kernels; what a tower sees is then what that encoder would."""
    pretrain(sensors.folder, replace(CONFIG, inputs=("light", "echo"), steps=2), tmp_path / "mpmae")
    before = load_encoder(tmp_path / "mpmae").encoder
    for init in (tmp_path / "mpmae", tmp_path / "mpmae" / "encoder.safetensors"):
        trainer = Trainer(resolve_run(sensors, replace(MIXED, init=str(init))), tmp_path / "never")
        assert "the encoder of light and the encoder of echo; new are the encoder of ground and" in trainer.began_with
        net, batch = trainer.model, trainer.resolved.loader.batch(0)
        assert isinstance(net, Contrastive)
        image = image_of(net.sensors[:1], batch.values, batch.valid)
        stacked = functional.pad(image[:, :2], (0, 0, 0, 0, 0, 2))
        torch.testing.assert_close(net.tower("light")(image), before(stacked), rtol=1e-4, atol=1e-5)


def test_it_begins_with_its_own_file_and_so_does_mp_mae(
    sensors: Corpus, run: tuple[Path, Path], tmp_path: Path
) -> None:
    init = str(run[0] / "encoder-light.safetensors")
    loaded = load_encoder(init).encoder.state_dict()
    trainer = Trainer(resolve_run(sensors, replace(MIXED, init=init)), tmp_path / "never")
    state = trainer.model.state_dict()
    assert all(torch.equal(item, state[f"encoder.light.{name}"]) for name, item in loaded.items())
    back = Trainer(resolve_run(sensors, replace(CONFIG, inputs=("light",), init=init)), tmp_path / "never")
    assert torch.equal(back.model.state_dict()["encoder.stem.0.weight"], loaded["stem.0.weight"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tower": "convnext:attto"}, "unknown pretrain.options.tower 'convnext:attto'; did you mean 'convnext:atto'"),
        ({"towers": {"lihgt": "zepto"}}, "unknown sensor of pretrain.options.towers 'lihgt'; did you mean 'light'"),
        ({"towers": "zepto"}, "pretrain.options.towers must be a table, not 'zepto'"),
    ],
)
def test_refuses_in_one_sentence(sensors: Corpus, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Fatal, match=message):
        resolve_run(sensors, replace(MIXED, options=OPTIONS | changes))


def test_a_run_that_is_older_than_towers_by_sensor_goes_on(sensors: Corpus, tmp_path: Path) -> None:
    config = replace(CONTRASTIVE, steps=2, checkpoint_every=1)
    with pytest.raises(Stopped):
        pretrain(sensors.folder, config, tmp_path, Recorder(1))
    for path in (tmp_path / "run.json", *(tmp_path / "checkpoints").glob("*.json")):
        data = json.loads(path.read_text())
        del data["config"]["options"]["towers"]
        path.write_text(json.dumps(data))
    assert pretrain(sensors.folder, config, tmp_path).steps == 2
    other = replace(config, options=CONTRASTIVE.options | {"towers": {"light": "convnext:zepto"}})
    with pytest.raises(Fatal, match="was begun with pretrain.options = "):
        pretrain(sensors.folder, other, tmp_path)


def test_weights_that_fit_no_tower_are_one_sentence(sensors: Corpus, tmp_path: Path) -> None:
    pretrain(sensors.folder, replace(CONFIG, inputs=("light",), steps=2), tmp_path / "mpmae")
    for options in ({"towers": {}}, {"towers": {"echo": "convnext:zepto"}}, {"tower": "convnext:atto", "towers": {}}):
        config = replace(MIXED, options=OPTIONS | options, init=str(tmp_path / "mpmae"))
        with pytest.raises(Fatal, match=r"it looks at light red and light green\) fits no tower of this run") as no:
            pretrain(sensors.folder, config, tmp_path / "run")
        assert "\n" not in str(no.value) and not (tmp_path / "run").exists()
