"""Contrastive pretraining as a method: its loss against plain NumPy, what it draws, its size, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.modality import Band, Modality
from tests.training.corpora import ECHO, LIGHT, SIZE_PX, make_corpus
from tests.training.methods.plain_tower import plain_embedding
from tests.training.model.plain_contrast import plain_contrast
from tests.training.sensor_corpus import CONTRASTIVE, SENSORS, make_sensors
from training.batch import Batch, no_keys
from training.config import PRESETS, PretrainConfig
from training.layer import Layer
from training.methods.contrastive import METHOD, Contrastive
from training.model.image import image_of
from training.model.tower import drawn_channels
from training.model.vit import VIT_SIZES, known_patches
from training.pretrain.joint_step import Represent
from training.pretrain.resolved_run import ResolvedRun, resolve_run


@pytest.fixture(scope="module")
def sensors(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_sensors(tmp_path_factory.mktemp("sensors"))


def made(corpus: Corpus, **changes: Any) -> tuple[ResolvedRun, Contrastive, Batch]:
    """A net in double precision, and the first batch."""
    resolved = resolve_run(corpus, replace(CONTRASTIVE, **changes))
    torch.manual_seed(0)
    net = METHOD.build(resolved.inputs, resolved.targets, resolved.config)
    assert isinstance(net, Contrastive)
    batch = resolved.loader.batch(0)
    exact = {name: item.double() if item.is_floating_point() else item for name, item in batch.values.items()}
    return resolved, net.double(), replace(batch, values=exact)


def plainly(net: Contrastive, batch: Batch, drawn: dict[str, torch.Tensor]) -> tuple[float, list[float]]:
    """The loss and its terms by loops over the tokens that are there, given the patches that were drawn."""
    views = np.full((len(batch.rows), len(net.sensors), 16), np.nan)
    for sensor, layer in enumerate(net.sensors):
        tower = net.tower(layer.name)
        state = {name: item.detach().numpy() for name, item in tower.state_dict().items()}
        images = image_of((layer,), batch.values, batch.valid).double().numpy()
        for row in np.flatnonzero(drawn[layer.name].flatten(1).any(1)):
            known = drawn[layer.name][row].numpy()
            views[row, sensor] = plain_embedding(state, VIT_SIZES["zepto"].heads, images[row], known)
    scale = float(net.log_scale.detach().exp())
    return plain_contrast(views, ~np.isnan(views[..., 0]), scale)


def drawn_of(net: Contrastive, batch: Batch, most: int) -> Iterator[tuple[str, torch.Tensor]]:
    for index, layer in enumerate(net.sensors):
        valid = batch.valid[layer.name].repeat_interleave(max(1, layer.classes), 1)
        known = known_patches(valid, 8)
        count = min(most, layer.channels)
        yield layer.name, drawn_channels(known, batch.keys, index, count)[1] if count else known


@pytest.mark.parametrize("most", [0, 1, 2])
def test_the_loss_is_that_of_plain_loops(sensors: Corpus, most: int) -> None:
    """Sensors, channels and patches are missing, and channels are drawn; `most` 0: nothing is drawn."""
    _, net, batch = made(sensors, options={**CONTRASTIVE.options, "channels": most})
    if not most:
        batch = replace(batch, keys=no_keys())
    representations = net.represent(batch)
    result = net.joint(representations)
    drawn = dict(drawn_of(net, batch, most))
    present = representations["present"]
    assert not present.all() and any(not item.flatten(2).any(2).all() for item in drawn.values())
    total, pairs = plainly(net, batch, drawn)
    assert float(result.total.detach()) == pytest.approx(total, rel=1e-9)
    assert result.losses.tolist() == pytest.approx(pairs, rel=1e-9)
    assert net.loss_names == ("light-echo", "light-ground", "echo-ground")


def test_draws_differ_between_chips_and_epochs_and_not_in_use(sensors: Corpus) -> None:
    resolved, net, batch = made(sensors)
    first, later = resolved.loader.batch(0), resolved.loader.batch(resolved.loader.steps_per_epoch)
    assert not set(first.keys.tolist()) & set(later.keys.tolist())
    views = net.represent(batch)["views"]
    assert torch.equal(net.represent(batch)["views"], views)
    assert not torch.equal(net.represent(replace(batch, keys=batch.keys + 1))["views"], views)
    net.eval()
    whole = net.represent(batch)["views"]
    assert torch.equal(net.represent(replace(batch, keys=batch.keys + 1))["views"], whole)


def test_the_temperature_stays_within_its_limits(sensors: Corpus) -> None:
    _, net, batch = made(sensors)
    assert net.figures().tolist() == pytest.approx([0.07])
    for value, temperature in ((9.0, 0.01), (-3.0, 1.0)):
        torch.nn.init.constant_(net.log_scale, value)
        net.joint(net.represent(batch))
        assert net.figures().tolist() == pytest.approx([temperature])


def test_bfloat16_is_near_and_its_loss_is_exact(sensors: Corpus) -> None:
    _, net, batch = made(sensors)
    net, batch = net.float(), replace(batch, values={name: item.float() if item.is_floating_point() else item
                                                     for name, item in batch.values.items()})  # fmt: skip
    exact = net.represent(batch)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = net.represent(batch)
    assert rounded["views"].dtype == torch.float32
    seen = exact["present"]
    assert (exact["views"] * rounded["views"]).sum(2)[seen].min().item() > 0.99
    assert not torch.equal(exact["views"], rounded["views"]) and net.joint(rounded).total.dtype == torch.float32


def test_representing_is_one_graph(sensors: Corpus) -> None:
    """For `torch.compile`: nothing in it depends on values. The backend only traces here."""
    _, net, batch = made(sensors)
    compiled = torch.compile(Represent(net), backend="eager", fullgraph=True)
    assert torch.equal(compiled(batch)["views"], net.represent(batch)["views"])


def test_the_published_size_is_met() -> None:
    """Three ViT-B for 448 px in patches of 16: about 250 M parameters, as the abstract of Allen et al. says."""
    names = {"optical": ("red", "green", "blue"), "radar": ("vv", "vh"), "coherence": ("vv",)}
    kinds = [Modality(name, name, tuple(map(Band, bands)), "float32", float("nan")) for name, bands in names.items()]
    layers = [Layer(kind, tuple(range(len(kind.bands))), {}) for kind in kinds]
    config = PRESETS["sensors"]
    with torch.device("meta"):
        net = METHOD.build(layers, layers, replace(config, options={**METHOD.options, **config.options}))
    count = sum(item.numel() for item in net.parameters())
    print(f"{count / 1e6:.1f} M parameters")
    assert 250e6 < count < 262e6


def test_options_of_a_preset_stay_beside_others() -> None:
    given = PretrainConfig.from_dict({"preset": "sensors_small", "options": {"temperature": 0.1}})
    assert given.options == {"tower": "zepto", "embedding_width": 64, "temperature": 0.1}
    assert PretrainConfig.from_dict(given.to_dict()) == given
    other = PretrainConfig.from_dict({"preset": "sensors_small", "method": "mpmae"})
    assert other.options == {} and other.method == "mpmae"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": ("light",)}, "compares sensors, and pretrain.inputs names only 'light'; name at least two"),
        ({"batch_size": 1}, "a contrastive loss compares the chips of a batch; set pretrain.batch_size to 2 or more"),
        ({"options": {"tower": "bsae"}}, "unknown pretrain.options.tower 'bsae'; did you mean 'base'"),
        ({"options": {"temperature": 3.0}}, "pretrain.options.temperature must be from 0.01 to 1"),
        ({"options": {"channels": -1}}, r"pretrain.options.channels must be 0 \(all\) or more"),
        ({"options": {"widht": 3}}, "unknown option of method 'contrastive'"),
    ],
)
def test_refuses_in_one_sentence(sensors: Corpus, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Fatal, match=message) as refusal:
        resolve_run(sensors, replace(CONTRASTIVE, **changes))
    assert str(refusal.value).count(". ") == 0


def test_refuses_a_channel_that_is_the_same_everywhere(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, 10, (LIGHT, ECHO))
    for shard in corpus.shards:
        block = corpus.read("echo", slice(shard.start, shard.stop))
        block[:, 1] = 4
        corpus.write(shard, "echo", block, {})
    config = replace(CONTRASTIVE, inputs=("light", "echo"))
    with pytest.raises(Fatal, match="channel 'down' of sensor 'echo' has the same value everywhere, .*bands.echo"):
        resolve_run(corpus, config)
    assert resolve_run(corpus, replace(config, bands={"echo": ("up",)})).inputs[1].channels == 1


def test_refuses_a_corpus_without_two_sensors_in_common(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, 10, (LIGHT, ECHO))
    for shard in corpus.shards:
        rows = range(shard.start, shard.stop)
        for name, fill, odd in (("light", 0, 0), ("echo", np.nan, 1)):
            block = corpus.read(name, slice(shard.start, shard.stop))
            missing = {row: "no pass" for row in rows if row % 2 == odd}
            block[[row - shard.start for row in missing]] = fill
            corpus.write(shard, name, block, missing)
    with pytest.raises(Fatal, match="fewer than two train chips have data of two of the sensors light, echo"):
        resolve_run(corpus, replace(CONTRASTIVE, inputs=("light", "echo"), bands={"light": ("red",)}))
    assert SIZE_PX == 32 and SENSORS[:2] == ("light", "echo")
