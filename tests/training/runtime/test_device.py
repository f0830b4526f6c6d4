"""What a run computes on: resolved from the configuration, refused where it is not there, described in the folder."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.errors import Fatal
from tests.training.corpora import CONFIG
from training.architecture import SIZES
from training.model.encoder import Encoder
from training.runtime.device import Device, threads
from training.runtime.distributed_context import DistributedContext
from training.runtime.provenance import commit, provenance

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


@needs_no_gpu
def test_auto_is_plain_on_a_cpu() -> None:
    device = Device.of(CONFIG)
    assert (device.place.type, device.dtype, device.compiled) == ("cpu", torch.float32, False)
    asked = Device.of(replace(CONFIG, precision="bf16", compile="on"))
    assert (asked.dtype, asked.compiled) == (torch.bfloat16, True)
    with asked.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


@needs_no_gpu
def test_refuses_a_gpu_that_is_not_there() -> None:
    with pytest.raises(Fatal, match="torch finds no GPU here; use auto or cpu"):
        Device.of(replace(CONFIG, device="cuda"))


def test_only_kernels_go_channels_last() -> None:
    """A response norm's (1, 1, 1, channels) keeps the strides that its gradient has."""
    encoder = Device.of(replace(CONFIG, device="cpu")).adopt(Encoder(3, SIZES["zepto"], 8))
    kernel, gamma = encoder.downsample_layers[0][1].weight, encoder.stages[0][0].grn.gamma
    assert kernel.stride() == (kernel.shape[1] * 4, 1, kernel.shape[1] * 2, kernel.shape[1])
    assert gamma.is_contiguous() and gamma.stride() == torch.zeros_like(gamma).stride()


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    with pytest.raises(KeyError), threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise KeyError
    assert torch.get_num_threads() == before


def test_the_commit_says_whether_the_code_was_changed(tmp_path: Path) -> None:
    package = tmp_path / "training"
    package.mkdir()
    assert commit(package) is None

    def git(*arguments: str) -> str:
        name = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
        done = subprocess.run(["git", *name, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q")
    (package / "code.py").write_text("1\n")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    assert commit(package) == git("rev-parse", "HEAD")
    (package / "code.py").write_text("2\n")
    assert commit(package) == git("rev-parse", "HEAD") + "+"


def test_a_run_says_which_commit_it_was_made_with() -> None:
    root = Path(__file__).resolve().parents[3]
    head = commit(root / "training")
    assert (head is not None) == (root / ".git").exists()
    assert provenance(Device.of(CONFIG), DistributedContext())["commit"] == head
