"""Settings from plain values: round trip, types, and one sentence for what does not fit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.errors import Fatal
from training.config import PRESETS, PretrainConfig


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_survive_json(preset: str) -> None:
    config = PretrainConfig.from_dict(
        {"preset": preset, "inputs": ["a"], "bands": {"a": ["x", "y"]}, "betas": [0.8, 1]}
    )
    assert config.inputs == ("a",) and config.bands == {"a": ("x", "y")} and config.betas == (0.8, 1.0)
    assert PretrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_preset_is_a_starting_point() -> None:
    config = PretrainConfig.from_dict({"preset": "demo", "steps": 7, "blr": 1})
    assert (config.encoder, config.steps, config.blr) == (PRESETS["demo"].encoder, 7, 1.0)
    assert isinstance(config.blr, float)
    assert PretrainConfig.from_dict({}) == PretrainConfig()


def test_defaults_hide_as_many_patches_as_published() -> None:
    config = PretrainConfig()
    assert (config.side**2, config.visible_patches) == (49, 19)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"batchsize": 3}, "unknown setting 'pretrain.batchsize'; did you mean 'pretrain.batch_size'"),
        ({"preset": "dmo"}, "unknown pretrain.preset 'dmo'; did you mean 'demo'"),
        ({"encoder": "atta"}, "unknown encoder 'atta'; did you mean 'atto'"),
        ({"decoder": "pertask"}, "did you mean 'per-task'"),
        ({"weighting": "uncertain"}, "did you mean 'uncertainty'"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"batch_size": "many"}, "pretrain.batch_size must be a whole number, not 'many'"),
        ({"batch_size": 1.5}, "pretrain.batch_size must be a whole number"),
        ({"epochs": True}, "pretrain.epochs must be a whole number"),
        ({"blr": "fast"}, "pretrain.blr must be a number"),
        ({"encoder": 3}, "pretrain.encoder must be text"),
        ({"inputs": "sentinel2"}, "pretrain.inputs must be a list of names"),
        ({"bands": ["B1"]}, "pretrain.bands must be a table"),
        ({"bands": {"a": "B1"}}, "pretrain.bands.a must be a list of names"),
        ({"betas": [0.9]}, "betas must be two numbers"),
        ({"betas": ["a", "b"]}, "pretrain.betas must be a number"),
        ({"image_px": 100}, "image_px 100 is not a multiple of patch_px 16"),
        ({"patch_px": 12}, "patch_px must be a multiple of 8, not 12"),
        ({"patch_px": 0}, "patch_px must be a multiple of 8"),
        ({"mask_ratio": 1.0}, "mask_ratio must lie between 0 and 1"),
        ({"image_px": 16, "mask_ratio": 0.6}, "hides every patch"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"seed": -1}, "must not be negative"),
        ({"warmup": 1.0}, "warmup is a fraction"),
        ({"blr": 0}, "blr must be positive"),
    ],
)
def test_refusals(plain: dict[str, Any], message: str) -> None:
    with pytest.raises(Fatal) as refusal:
        PretrainConfig.from_dict(plain)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
