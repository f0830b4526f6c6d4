"""The whole objective: what it reads, what it must not, and how large the model is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.corpus import Corpus
from pipeline.modality import Band, Category, Extent, Modality
from tests.training.corpora import ALL, CONFIG
from training.batch import Batch
from training.config import PretrainConfig
from training.data.batch_loader import BatchLoader
from training.layer import Layer, layer_of
from training.methods.mpmae import MPMAE

NAMES = [modality.name for modality in ALL]


def make_model(corpus: Corpus, inputs: tuple[str, ...] = ("light",), **changes) -> tuple[MPMAE, Batch]:
    layers = [layer_of(corpus, name, {}) for name in NAMES]
    config = replace(CONFIG, **changes)
    torch.manual_seed(0)
    model = MPMAE([layer_of(corpus, name, {}) for name in inputs], layers, config)
    return model, BatchLoader(corpus, layers, config).batch(0)


def hidden_pixels(batch: Batch) -> Tensor:
    return ~batch.visible[:, None].repeat_interleave(8, 2).repeat_interleave(8, 3)


def change(batch: Batch, name: str, where: Tensor) -> Batch:
    """`batch` with other values of a layer at the places of `where`."""
    old = batch.values[name]
    new = (old + 1) % 3 if old.dtype == torch.int64 else old * 3 + 5
    return replace(batch, values=batch.values | {name: torch.where(where, new, old)})


@pytest.mark.parametrize("name", ["echo", "ground"])
def test_only_hidden_valid_pixels_decide_the_loss(corpus: Corpus, name: str) -> None:
    model, batch = make_model(corpus)
    index, before = NAMES.index(name), model.objective(batch).losses
    counted = hidden_pixels(batch) & batch.valid[name]
    assert counted.any() and not counted.all()
    assert torch.equal(model.objective(change(batch, name, ~counted)).losses, before)
    assert not torch.equal(model.objective(change(batch, name, counted)).losses[index], before[index])


def test_hidden_input_pixels_are_a_target_and_nothing_else(corpus: Corpus) -> None:
    model, batch = make_model(corpus)
    torch.nn.init.normal_(model.heads[0].expand.weight, std=10)  # So that predictions are not all but 0.
    hidden = hidden_pixels(batch).expand_as(batch.values["light"])
    changed = change(batch, "light", hidden & batch.valid["light"])
    assert all(torch.equal(a, b) for a, b in zip(model(batch), model(changed), strict=True))
    scaled = [model.objective(item).losses[0].item() for item in (batch, changed)]
    assert scaled[0] == pytest.approx(scaled[1], rel=1e-3), (
        "normalised per patch: a line through values changes nothing"
    )
    other = replace(batch, values=batch.values | {"light": torch.where(hidden, -batch.values["light"], 0)})
    assert model.objective(other).losses[0].item() != pytest.approx(scaled[0], rel=1e-3)


@pytest.mark.parametrize("name", ["weather", "culture"])
def test_image_level_nodata_is_ignored(corpus: Corpus, name: str) -> None:
    model, batch = make_model(corpus, batch_size=8)
    index, before, valid = NAMES.index(name), model.objective(batch).losses, batch.valid[name]
    assert valid.any() and not valid.all()
    assert torch.equal(model.objective(change(batch, name, ~valid)).losses, before)
    assert not torch.equal(model.objective(change(batch, name, valid)).losses[index], before[index])


def test_a_target_without_data_moves_nothing(corpus: Corpus) -> None:
    model, batch = make_model(corpus)
    with torch.no_grad():
        model.log_variances.fill_(0.3)
    objective = model.objective(batch)
    objective.total.backward()
    index = NAMES.index("nothing")
    assert objective.active.tolist() == [name != "nothing" for name in NAMES]
    assert objective.losses[index].item() == 0.0
    assert not model.heads[index].expand.weight.grad.any() and model.log_variances.grad[index] == 0
    expected = sum(torch.exp(torch.tensor(-0.3)) * loss + 0.3 for loss in objective.losses[objective.active])
    torch.testing.assert_close(objective.total, expected)


def test_every_parameter_learns(corpus: Corpus) -> None:
    model, batch = make_model(corpus, decoder="per-task", batch_size=16)
    with torch.no_grad():
        for name, item in model.named_parameters():
            if "grn" in name:
                item.fill_(0.1)
    model.objective(batch).total.backward()
    silent = [name for name, item in model.named_parameters() if item.grad is None or not item.grad.any()]
    index = NAMES.index("nothing")
    assert all(name.startswith((f"decoders.{index}.", f"heads.{index}.")) for name in silent), silent


def test_a_shared_decoder_is_one_and_a_decoder_per_task_is_many(corpus: Corpus) -> None:
    assert len(make_model(corpus)[0].decoders) == 1
    assert len(make_model(corpus, decoder="per-task")[0].decoders) == len(ALL)


def test_classes_can_be_an_input(corpus: Corpus) -> None:
    model, batch = make_model(corpus, inputs=("echo", "ground"))
    image = model.image(batch)
    assert image.shape[1] == 2 + 3
    classes = image[:, 2:]
    assert torch.equal(classes.sum(1, keepdim=True).bool(), batch.valid["ground"])
    assert torch.equal(
        classes.argmax(1, keepdim=True)[batch.valid["ground"]], batch.values["ground"][batch.valid["ground"]]
    )


def test_a_sum_of_losses_has_no_spread(corpus: Corpus) -> None:
    model, batch = make_model(corpus, weighting="sum")
    objective = model.objective(batch)
    assert model.log_variances is None
    torch.testing.assert_close(objective.total, objective.losses.sum())


def layer(bands: int, classes: int = 0, extent: Extent = "pixel") -> Layer:
    categories = tuple(Category(code, str(code)) for code in range(classes))
    names = tuple(Band(str(band)) for band in range(bands))
    return Layer(Modality("any", "", names, "int32", -1, extent, categories), tuple(range(bands)), {})


@pytest.mark.parametrize(("image_px", "patch_px", "millions"), [(112, 16, 11.91), (56, 8, 7.58)])
def test_size_of_the_published_model(image_px: int, patch_px: int, millions: float) -> None:
    """The twelve modalities of MMEarth. 11.9 million is the published figure at patch 16; patch 8 has a quarter of the
    11,264 outputs of the pixel heads, 513 parameters each, thus 4.33 million fewer."""
    optical = layer(12)
    pixels = [optical, layer(8), layer(2), layer(2), layer(1, 9), layer(1, 11)]
    images = [layer(1, 14, "image"), layer(1, 846, "image"), *(layer(bands, 0, "image") for bands in (2, 2, 2, 12))]
    model = MPMAE([optical], [*pixels, *images], PretrainConfig(image_px=image_px, patch_px=patch_px))
    assert sum(item.numel() for item in model.parameters()) == pytest.approx(millions * 1e6, rel=0.001)


def test_bfloat16_changes_little(corpus: Corpus) -> None:
    """The losses themselves are taken in float32."""
    model, batch = make_model(corpus)
    exact = model.objective(batch)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model.objective(batch)
    assert rough.losses.dtype == rough.total.dtype == torch.float32
    torch.testing.assert_close(rough.losses, exact.losses, rtol=0.02, atol=0.01)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "nothing"])
def test_a_target_that_is_empty_in_a_batch_costs_and_moves_nothing(corpus: Corpus, name: str) -> None:
    """Whatever its kind and extent, and whatever its values are where they do not count."""
    model, batch = make_model(corpus, decoder="per-task")
    index, old = NAMES.index(name), batch.values[name]
    rubbish = torch.full_like(old, -1 if old.dtype == torch.int64 else torch.nan)
    empty = {name: torch.zeros_like(batch.valid[name])}
    batch = replace(batch, values=batch.values | {name: rubbish}, valid=batch.valid | empty)
    if name == "light":  # An input too: what it shows must be numbers.
        batch = replace(batch, values=batch.values | {name: torch.zeros_like(old)})
    objective = model.objective(batch)
    objective.total.backward()
    assert objective.losses[index].item() == 0.0 and not objective.active[index]
    assert not any(item.grad is not None and item.grad.any() for item in model.heads[index].parameters())
    assert not any(item.grad is not None and item.grad.any() for item in model.decoders[index].parameters())
    assert all(torch.isfinite(item.grad).all() for item in model.parameters() if item.grad is not None)


@pytest.mark.parametrize("weighting", ["uncertainty", "sum"])
def test_a_batch_without_any_target_costs_and_moves_nothing(corpus: Corpus, weighting: str) -> None:
    model, batch = make_model(corpus, weighting=weighting)
    nothing = {name: torch.zeros_like(valid) for name, valid in batch.valid.items()}
    total = model.objective(replace(batch, valid=nothing)).total
    total.backward()
    assert total.item() == 0.0
    assert not any(item.grad is not None and item.grad.any() for item in model.parameters())


def test_the_objective_by_hand(corpus: Corpus) -> None:
    """Place by place in Python, from the predictions alone."""
    model, batch = make_model(corpus, weighting="sum")
    predictions = [item.detach().numpy() for item in model(batch)]
    got = dict(zip(NAMES, model.objective(batch).losses.tolist(), strict=True))
    hidden = (~batch.visible).repeat_interleave(8, 1).repeat_interleave(8, 2).numpy()
    for name, prediction in zip(NAMES, predictions, strict=True):
        if name == "light":
            continue  # Normalised per patch, which has tests of its own.
        values, valid, errors = batch.values[name].numpy(), batch.valid[name].numpy(), []
        for place in zip(*valid.nonzero(), strict=True):
            image, band, yx = place[0], place[1], place[2:]
            if yx and not hidden[(image, *yx)]:
                continue
            if values.dtype == np.int64:
                scores = prediction[(image, slice(None), *yx)]
                errors.append(np.log(np.exp(scores).sum()) - scores[values[place]])
            else:
                errors.append((prediction[(image, band, *yx)] - values[place]) ** 2)
        assert got[name] == pytest.approx(np.mean(errors) if errors else 0.0, rel=1e-4), name
