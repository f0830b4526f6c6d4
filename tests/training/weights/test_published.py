"""Published checkpoints load, and compute what a sparse net would that runs on their own layout.

No published file was at hand: the layout is rebuilt here from its description (`published_sparse`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from exporters.modalities.sentinel2 import sentinel2
from pipeline.errors import Fatal
from tests.training.published_sparse import make_checkpoint, make_state, run
from training.architecture import SIZES
from training.weights.published import encoder_of, inputs_of, of_published, state_of, to_dense
from training.weights.weights import load_encoder

DEPTHS, WIDTHS = (1, 1, 2, 1), (3, 4, 5, 6)


@pytest.mark.parametrize("stem", ["modified", "original"])
@pytest.mark.parametrize("patch_px", [8, 16, 32])
def test_computes_what_the_sparse_net_does(patch_px: int, stem: str) -> None:
    state = make_state(DEPTHS, WIDTHS, 3, patch_px, stem)
    encoder = encoder_of(state).double()
    assert encoder.architecture.patch_px == patch_px and encoder.architecture.stem == stem
    visible = torch.tensor([[True, False], [True, True]])
    image = torch.randn(3, 2 * patch_px, 2 * patch_px, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    features = encoder(image[None], visible[None])[0]
    for (y, x), value in run(state, image, visible, patch_px, DEPTHS).items():
        torch.testing.assert_close(features[:, y, x], value, rtol=1e-6, atol=1e-6)


def test_a_file_with_all_that_surrounds_the_encoder(tmp_path: Path) -> None:
    state = make_state(DEPTHS, WIDTHS, 12, 8, "modified")
    path = make_checkpoint(tmp_path / "checkpoint-199.pth", state)
    encoder, normalisation = of_published(state_of(path), str(path))
    assert all(item.requires_grad and torch.isfinite(item).all() for item in encoder.parameters())
    bands = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8A", "B8", "B9", "B11", "B12")
    assert normalisation.band_names == {"sentinel2": bands}
    raw = np.full((1, 12, 16, 16), 3110, dtype=np.uint16)
    image = normalisation.image({"sentinel2": raw}, "l2a")
    assert image[0, 8, 0, 0] == pytest.approx((3110 - 3110.8406) / 1988.1938, abs=1e-5)
    assert image[0, 7, 0, 0] == pytest.approx((3110 - 3149.5365) / 1816.6152, abs=1e-5)
    assert encoder(image).shape == (1, 6, 2, 2)


def test_the_one_liner_takes_them(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "checkpoint-199.pth", make_state(DEPTHS, WIDTHS, 3, 16, "modified"))
    pretrained = load_encoder(path)
    assert pretrained.normalisation.band_names == {"sentinel2": ("B2", "B3", "B4")}
    assert pretrained.facts == {"published": "checkpoint-199.pth"}


def test_the_published_size_is_recognised() -> None:
    size = SIZES["atto"]
    architecture = encoder_of(make_state(size.depths, size.widths, 12, 16, "modified")).architecture
    assert (architecture.size_name, architecture.channels, architecture.patch_px) == ("atto", 12, 16)


def test_dense_checkpoints_of_the_same_code() -> None:
    sparse = to_dense(make_state(DEPTHS, WIDTHS, 3, 16, "modified"))
    again = to_dense(sparse | {"norm.weight": torch.ones(6), "head.weight": torch.ones(2, 6)})
    assert again.keys() == sparse.keys() and all(torch.equal(again[name], sparse[name]) for name in sparse)


def broken(change: str) -> dict[str, Tensor]:
    state = make_state(DEPTHS, WIDTHS, 3, 16, "modified")
    name = "encoder.stages.2.1.dwconv.bias"
    if change == "missing":
        del state[name]
    elif change == "shape":
        state[name] = torch.zeros(1, 9)
    else:
        state["encoder.stages.2.1.surprise"] = torch.zeros(1)
    return state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "'stages.2.1.dwconv.bias' is missing"),
        ("shape", r"'stages.2.1.dwconv.bias' has shape \(9,\) where \(5,\) belongs"),
        ("strange", "'stages.2.1.surprise' is in the file and in no encoder"),
    ],
)
def test_refuses_what_does_not_fit(change: str, message: str) -> None:
    with pytest.raises(Fatal, match=message):
        encoder_of(broken(change))


def test_refuses_other_files(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="holds no published MMEarth encoder"):
        encoder_of({"layer1.0.conv1.weight": torch.zeros(1)})
    with pytest.raises(Fatal, match="5 input channels; use one with 12 or 3"):
        inputs_of(5)
    (tmp_path / "text.pth").write_text("no checkpoint")
    with pytest.raises(Fatal, match="no checkpoint that can be read safely"):
        state_of(tmp_path / "text.pth")
    with pytest.raises(Fatal, match="cannot read"):
        state_of(tmp_path / "absent.pth")
    torch.save({"model": {"a": 1}}, tmp_path / "other.pth")
    with pytest.raises(Fatal, match="holds no model"):
        state_of(tmp_path / "other.pth")


class Payload:
    """Code in a file: reading it must not run it."""

    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


def test_never_runs_what_a_file_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {}, "args": Payload()}, tmp_path / "bad.pth")
    with pytest.raises(Fatal, match="read safely"):
        state_of(tmp_path / "bad.pth")
    assert not (tmp_path / "ran").exists()


def test_they_read_a_corpus_of_ours() -> None:
    """Whose layer of the same name has B10 and another order of the near infrared bands."""
    (layer,) = inputs_of(12).layers_of({"sentinel2": sentinel2})
    names = [sentinel2.band_names[band] for band in layer.bands]
    assert names == ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8A", "B8", "B9", "B11", "B12"]
    raw = np.full((1, 13, 4, 4), 3110, dtype=np.uint16)
    values, valid = layer.values(raw, ["l2a"])
    assert valid.all() and values[0, 8, 0, 0] == pytest.approx((3110 - 3110.8406) / 1988.1938, abs=1e-5)
