"""Inputs that a chip lacks as a whole: told to the encoder by a plane of their own, in training and in use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.training.corpora import CONFIG
from training.batch import Batch
from training.config import PretrainConfig
from training.method import Method
from training.methods.mpmae import METHOD, MPMAE
from training.model.image import image_of
from training.model.normalisation import Normalisation
from training.pretrain import resolved_run
from training.pretrain.resolved_run import ResolvedRun, resolve_run
from training.pretrain.train import Trainer, pretrain
from training.weights.weights import load_encoder

INPUTS = ("light", "ground", "echo")
TOLD = replace(CONFIG, inputs=INPUTS, presence=True)
PLANES = [2, 2 + 1 + 3, 2 + 1 + 3 + 1 + 2]  # behind two numbers, three classes, two numbers


def lacking(batch: Batch, name: str, rows: list[int]) -> Batch:
    """`batch` with no data of a layer in some rows, which show its mean."""
    values, valid = batch.values[name].clone(), batch.valid[name].clone()
    values[rows], valid[rows] = 0, False
    return replace(batch, values=batch.values | {name: values}, valid=batch.valid | {name: valid})


def net_of(resolved: ResolvedRun) -> MPMAE:
    torch.manual_seed(0)
    return MPMAE(resolved.inputs, resolved.targets, resolved.config)


@pytest.mark.parametrize(("name", "plane"), [*zip(INPUTS, PLANES, strict=True)])
def test_a_plane_per_input_says_which_chips_have_it(corpus: Corpus, name: str, plane: int) -> None:
    resolved = resolve_run(corpus, TOLD)
    net, batch = net_of(resolved), lacking(resolved.loader.batch(0), name, [1, 3])
    image = net.image(batch)
    assert image.shape[1] == 10 == net.encoder.architecture.channels
    assert image[:, plane].unique().tolist() == [0, 1] and not image[[1, 3], plane].any()
    assert all(bool((image[:, other] == 1).all()) for other in PLANES if other != plane)
    plain = net_of(resolve_run(corpus, replace(TOLD, presence=False))).image(batch)
    assert torch.equal(image[:, [place for place in range(10) if place not in PLANES]], plain)


def test_a_missing_layer_is_not_its_mean(corpus: Corpus) -> None:
    """Two chips of equal numbers, one of which has no data: the plane alone tells them apart."""
    for told in (True, False):
        resolved = resolve_run(corpus, replace(TOLD, presence=told))
        net, whole = net_of(resolved), resolved.loader.batch(0)
        missing = lacking(whole, "echo", [0])
        mean = replace(missing, valid=whole.valid)
        features = [net.encoder(net.image(batch))[0] for batch in (missing, mean)]
        assert torch.equal(*features) is not told


TOLD_BANDS = replace(TOLD, presence="bands")
BAND_PLANES = [2, 3, 4 + 3, 8 + 2, 8 + 3]  # behind two numbers, three classes of one band, two numbers


def without_band(batch: Batch, name: str, band: int, rows: list[int]) -> Batch:
    """`batch` with no data of one band in some rows, which show its mean."""
    values, valid = batch.values[name].clone(), batch.valid[name].clone()
    for row in rows:
        values[row, band], valid[row, band] = 0, False
    return replace(batch, values=batch.values | {name: values}, valid=batch.valid | {name: valid})


def test_a_plane_per_band_says_which_chips_have_it_and_nothing_else_changes(corpus: Corpus) -> None:
    resolved = resolve_run(corpus, TOLD_BANDS)
    whole = resolved.loader.batch(0)
    whole = replace(whole, valid={name: torch.ones_like(item) for name, item in whole.valid.items()})
    net, batch = net_of(resolved), without_band(whole, "echo", 1, [0, 2])
    image, complete = net.image(batch), net.image(whole)
    assert image.shape[1] == 12 == net.encoder.architecture.channels
    assert bool((complete[:, BAND_PLANES] == 1).all()) and not image[[0, 2], 11].any()
    assert [place for place in BAND_PLANES if not bool((image[:, place] == 1).all())] == [11]
    plain = net_of(resolve_run(corpus, replace(TOLD, presence=False))).image(batch)
    assert torch.equal(image[:, [place for place in range(12) if place not in BAND_PLANES]], plain)


def test_a_missing_band_is_not_its_mean(corpus: Corpus) -> None:
    for presence in ("bands", True):
        resolved = resolve_run(corpus, replace(TOLD, presence=presence))
        net, whole = net_of(resolved), resolved.loader.batch(0)
        whole = replace(whole, valid={name: torch.ones_like(item) for name, item in whole.valid.items()})
        missing = without_band(whole, "echo", 1, [0])
        mean = replace(missing, valid=whole.valid)
        features = [net.encoder(net.image(batch))[0] for batch in (missing, mean)]
        assert torch.equal(*features) is (presence is True)


def test_weights_that_are_told_of_bands(corpus: Corpus, tmp_path: Path) -> None:
    """The file and the checkpoint say so; a band of nodata alone is told, and a layer that is not given has none."""
    result = pretrain(corpus.folder, replace(TOLD_BANDS, steps=2), tmp_path)
    stored = {name: corpus.read(name, slice(0, 3)) for name in INPUTS}
    stored["light"] = stored["light"][:, [0, 2]]
    levels = [str(level) for level in corpus.manifest.column("level")[:3]]
    for pretrained in (load_encoder(tmp_path), load_encoder(result.checkpoint)):
        image = pretrained.normalisation.image(stored, levels)
        assert pretrained.normalisation.channels == image.shape[1] == 12
        assert image[:, 11].flatten(1).amax(1).tolist() == [0, 1, 1]  # every third chip has no `down`
        without = pretrained.normalisation.image({name: stored[name] for name in ("light", "ground")}, levels)
        assert not without[:, 8:].any() and torch.equal(without[:, :8], image[:, :8])
        assert pretrained.encoder(image).shape == (3, 128, 4, 4)
        named = xarray.DataArray(
            stored["echo"], dims=("chip", "band", "y", "x"), coords={"band": ["up", "down"]}
        )  # fmt: skip
        lacking_down = pretrained.normalisation.image(stored | {"echo": named.isel(band=[0])}, levels)
        assert not lacking_down[:, [9, 11]].any() and torch.equal(lacking_down[:, [8, 10]], image[:, [8, 10]])
        physical = pretrained.normalisation.image_from_physical({"echo": named.isel(band=[0])})
        assert torch.equal(physical[:, 8:], lacking_down[:, 8:])
    assert "presence = bands" in (tmp_path / "model_card.md").read_text()


def test_a_run_without_planes_begins_one_with_them(corpus: Corpus, tmp_path: Path) -> None:
    """Its encoder sees as before until it has learnt what the planes mean; and the other way round."""
    plain = replace(TOLD, presence=False, steps=2)
    pretrain(corpus.folder, plain, tmp_path / "plain")
    before = load_encoder(tmp_path / "plain")
    for presence in (True, "bands"):
        config = replace(plain, presence=presence, init=str(tmp_path / "plain"))
        trainer = Trainer(resolve_run(corpus, config), tmp_path / "never")
        batch, net = trainer.resolved.loader.batch(0), trainer.model
        image = image_of(before.normalisation.layers, batch.values, batch.valid)
        torch.testing.assert_close(net.encoder(net.image(batch)), before.encoder(image), rtol=1e-4, atol=1e-5)
        assert "the encoder (in part)" in trainer.began_with
    pretrain(corpus.folder, replace(TOLD_BANDS, steps=2), tmp_path / "told")
    back = Trainer(resolve_run(corpus, replace(plain, init=str(tmp_path / "told"))), tmp_path / "never")
    assert "nothing is new" in back.began_with


def test_settings_of_presence() -> None:
    for given in (True, False, "bands"):
        config = PretrainConfig.from_dict({"presence": given})
        assert config.presence == given and PretrainConfig.from_dict(config.to_dict()) == config
    with pytest.raises(Fatal, match="presence"):
        PretrainConfig.from_dict({"presence": "layers"})


def test_hidden_patches_hide_the_plane_too(corpus: Corpus) -> None:
    resolved = resolve_run(corpus, TOLD)
    batch = lacking(resolved.loader.batch(0), "light", [2])
    both = [net_of(replace(resolved, config=replace(resolved.config, skip_hidden=skip))) for skip in (True, False)]
    losses = [net.objective(batch).losses for net in both]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-5)


def test_weights_take_what_there_is(corpus: Corpus, tmp_path: Path) -> None:
    """A layer that is not given is one without data; so is one of nodata alone, and partial nodata is none."""
    result = pretrain(corpus.folder, replace(TOLD, steps=2), tmp_path)
    loaded = [load_encoder(tmp_path), load_encoder(result.checkpoint)]
    stored = {name: corpus.read(name, slice(0, 3)) for name in INPUTS}
    stored["light"] = stored["light"][:, [0, 2]]
    levels = [str(level) for level in corpus.manifest.column("level")[:3]]
    for pretrained in loaded:
        image_of, channels = pretrained.normalisation.image, pretrained.normalisation.channels
        whole = image_of(stored, levels)
        assert whole.shape == (3, channels, 32, 32) and channels == 10 and bool((whole[:, PLANES] == 1).all())
        without = image_of({name: stored[name] for name in ("light", "echo")}, levels)
        empty = image_of(stored | {"ground": np.full_like(stored["ground"], 255)}, levels)
        assert torch.equal(without, empty) and not without[:, 3:7].any()
        assert pretrained.encoder(without).shape == (3, 128, 4, 4)
        physical = {"echo": stored["echo"].astype(float)}
        assert torch.equal(pretrained.normalisation.image_from_physical(physical)[:, 7:], whole[:, 7:])
    assert "presence = True" in (tmp_path / "model_card.md").read_text()
    with pytest.raises(Fatal, match="these weights need layer 'light', and none were given; add it"):
        loaded[0].normalisation.image({})


def test_files_of_runs_without_it_are_as_they_were(corpus: Corpus) -> None:
    resolved = resolve_run(corpus, replace(TOLD, presence=False))
    assert "presence" not in resolved.identity["config"]
    assert all(item.keys() == {"modality", "groups"} for item in resolved.identity["inputs"])
    plain = Normalisation.of(resolved.inputs)
    with pytest.raises(Fatal, match="these weights need layer 'ground', and only light were given; add it"):
        plain.image({"light": corpus.read("light", slice(0, 1))[:, [0, 2]]}, "l1c")


def test_a_method_that_is_not_told_refuses(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolved_run, "method_of", lambda config: Method(METHOD.build))
    with pytest.raises(
        Fatal, match="method 'mpmae' is not told which inputs a chip lacks; leave pretrain.presence out"
    ):
        resolve_run(corpus, TOLD)
