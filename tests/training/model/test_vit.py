"""The vision transformer over channels: any subset of them, nothing of what is absent, and the counts of its sizes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from training.model.tower import Tower, drawn_channels
from training.model.vit import VIT_SIZES, VisionTransformer, VitArchitecture, VitSize, known_patches

TINY = VitArchitecture(4, VitSize(12, 2, 3), patch_px=8, image_px=24, embedding_width=6)


@pytest.fixture
def tower() -> Tower:
    torch.manual_seed(0)
    return Tower(TINY, "fan-in").double()


def image(rows: int = 3, size_px: int = 24) -> Tensor:
    return torch.randn(rows, 4, size_px, size_px, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def known(rows: int = 3, side: int = 3) -> Tensor:
    return torch.ones(rows, 4, side, side, dtype=torch.bool)


def test_a_channel_that_is_absent_has_no_effect(tower: Tower) -> None:
    there, one, other = known(), image(), image()
    there[:, 2] = False
    other[:, 2] = torch.randn_like(other[:, 2]) * 100
    assert torch.equal(tower.embedding(one, there), tower.embedding(other, there))
    assert torch.equal(tower(one, there), tower(other, there))
    assert not torch.equal(tower.embedding(one), tower.embedding(one, there))


def test_chosen_channels_alone_are_as_if_the_others_were_absent(tower: Tower) -> None:
    there = known()
    there[:, [0, 3]] = False
    chosen = torch.tensor([[1, 2]] * 3)
    torch.testing.assert_close(
        tower.pooled(image(), None, chosen), tower.pooled(image(), there), rtol=1e-10, atol=1e-10
    )


def test_an_absent_patch_has_no_effect(tower: Tower) -> None:
    there, one = known(), image()
    there[0, :, 1, 2] = False
    other = one.clone()
    other[0, :, 8:16, 16:24] = 5.0
    assert torch.equal(tower.pooled(one, there), tower.pooled(other, there))


def test_rows_do_not_depend_on_their_company(tower: Tower) -> None:
    there = known()
    there[1, :3] = False
    there[2] = False
    together = tower.embedding(image(), there)
    alone = torch.cat([tower.embedding(image()[row : row + 1], there[row : row + 1]) for row in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-10)


def test_nothing_at_all_is_finite_and_teaches_nothing(tower: Tower) -> None:
    there = known()
    there[1] = False
    embedding = tower.embedding(image(), there)
    assert bool(torch.isfinite(embedding).all())
    torch.where(torch.tensor([[False], [True], [False]]), 0.0, embedding).sum().backward()
    grads = [item.grad for item in tower.parameters()]
    assert all(grad is not None and bool(torch.isfinite(grad).all()) for grad in grads)


def test_channels_differ_and_so_do_places(tower: Tower) -> None:
    same = image()[:, :1].expand(-1, 4, -1, -1)
    chosen = [tower.embedding(same, None, torch.full((3, 1), channel)) for channel in range(2)]
    assert not torch.allclose(chosen[0], chosen[1])
    assert not torch.allclose(tower.embedding(image()), tower.embedding(image().flip(3)))


def test_other_sizes_than_those_of_training(tower: Tower) -> None:
    assert tower(image(2, 40)).shape == (2, 12, 5, 5)
    assert tower.embedding(image(2, 16)).norm(dim=1).tolist() == pytest.approx([1, 1])
    with pytest.raises(ValueError, match="no multiple of the 8 px patch"):
        tower(image(2, 20))


def test_the_patch_kernels_are_those_of_a_convolution_over_all_channels(tower: Tower) -> None:
    """timm adds up the channels; the weights are the same."""
    kernels = tower.patch_embed.proj
    summed = tower.patch_embed(image()).sum(dim=1) - 3 * kernels.bias
    torch.testing.assert_close(summed.transpose(1, 2), kernels(image()).flatten(2), rtol=1e-9, atol=1e-9)


def test_attention_is_torchs_own(tower: Tower) -> None:
    block, tokens = tower.blocks[0], torch.randn(2, 5, 12, dtype=torch.float64)
    attended = torch.tensor([[True] * 5, [True, False, True, True, False]])
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).double()
    own = block.attn
    theirs.load_state_dict({"in_proj_weight": own.qkv.weight, "in_proj_bias": own.qkv.bias,
                            "out_proj.weight": own.proj.weight, "out_proj.bias": own.proj.bias})  # fmt: skip
    expected = theirs(tokens, tokens, tokens, key_padding_mask=~attended, need_weights=False)[0]
    torch.testing.assert_close(own(tokens, attended), expected, rtol=1e-9, atol=1e-9)


def test_names_are_timms() -> None:
    """Those of timm's `VisionTransformer(class_token=False, global_pool="avg", num_classes=0)`, and two of ours."""
    parts = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    modules = ["patch_embed.proj", *(f"blocks.{block}.{part}" for block in range(2) for part in parts), "fc_norm"]
    names = {f"{module}.{parameter}" for module in modules for parameter in ("weight", "bias")}
    ours = {"channel_embed", "projection.weight"}
    assert set(Tower(TINY).state_dict()) == names | {"pos_embed"} | ours


@pytest.mark.parametrize(("size", "millions"), [("small", 21.7), ("base", 85.8)])
def test_published_sizes(size: str, millions: float) -> None:
    """As many as in Touvron et al. 2021 (22 M) and Dosovitskiy et al. 2021 (86 M), at 224 px in patches of 16."""
    with torch.device("meta"):
        net = VisionTransformer(VitArchitecture(3, VIT_SIZES[size], 16, 224))
    assert sum(item.numel() for item in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


def test_patches_with_any_valid_value_are_there() -> None:
    valid = torch.zeros(1, 2, 16, 16, dtype=torch.bool)
    valid[0, 1, 9, 3] = True
    assert known_patches(valid, 8).tolist() == [[[[False, False], [False, False]], [[False, False], [True, False]]]]


def test_channels_are_drawn_among_those_that_are_there() -> None:
    there = torch.ones(600, 4, 2, 2, dtype=torch.bool)
    there[:, 1] = False
    there[0] = False
    there[1, :3] = False
    chosen, drawn = drawn_channels(there, torch.arange(600), 0, 3)
    channels = drawn.flatten(2).any(2)
    counts = channels.sum(1)
    assert chosen.shape == (600, 3) and not channels[:, 1].any() and (counts[0], counts[1]) == (0, 1)
    assert bool((counts[2:] >= 1).all()) and {1, 2, 3} == set(counts[2:].tolist())
    shares = channels[2:].float().mean(0)
    assert float((shares[[0, 2, 3]] - 2 / 3).abs().max()) < 0.08
    found = torch.zeros_like(channels).scatter(1, chosen, True)
    assert bool((channels & ~found).sum() == 0), "what is drawn is among the chosen"


def test_a_draw_is_of_its_row_alone() -> None:
    there, keys = torch.ones(50, 4, 2, 2, dtype=torch.bool), torch.arange(50) * 977
    _, drawn = drawn_channels(there, keys, 1, 4)
    _, again = drawn_channels(there[20:30], keys[20:30], 1, 4)
    assert torch.equal(drawn[20:30], again)
    assert not torch.equal(drawn, drawn_channels(there, keys, 2, 4)[1])
