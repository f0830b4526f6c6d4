"""Settings from plain values: round trip, types, and one sentence for what does not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pipeline.errors import Fatal
from training.config import PRESETS, PretrainConfig

# What the first version of this project wrote beside a checkpoint.
STORED = """
{"bands": {}, "batch_size": 4, "betas": [0.9, 0.95], "blr": 0.05, "checkpoint_every": 5,
"checkpoints_kept": 9, "compile": "auto", "decoder": "per-task", "decoder_depth": 1, "decoder_width": 16,
"device": "auto", "encoder": "zepto", "epochs": 200, "image_px": 24, "inputs": ["light"], "keep_every": 0,
"log_every": 1, "mask_ratio": 0.6, "micro_batch": 256, "mix_blocks": 8, "patch_px": 8, "peak_tflops": 0.0,
"pictures_every": 10, "precision": "auto", "processes": 1, "read_ahead": 2, "read_rows": 5,
"response": "image", "seed": 0, "skip_hidden": false, "spread": "fan-in", "stem": "modified", "steps": 20,
"targets": ["culture", "echo", "ground", "light", "nothing", "weather"], "threads": 1,
"unfinished": false, "wandb": "", "warmup": 0.2, "weight_decay": 0.05, "weighting": "sum", "workers": 0}
"""


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_survive_json(preset: str) -> None:
    config = PretrainConfig.from_dict(
        {"preset": preset, "inputs": ["a"], "bands": {"a": ["x", "y"]}, "betas": [0, 0.99]}
    )
    assert (
        config.inputs == ("a",)
        and config.bands == {"a": ("x", "y")}
        and config.betas == (0.0, 0.99)
        and isinstance(config.betas[0], float)
    )
    assert PretrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_stored_configuration_is_read_and_written_as_it_was() -> None:
    """A run's identity, key for key: checkpoints hold it, and a run goes on only where it is the same."""
    stored = json.loads(STORED)
    config = PretrainConfig.from_dict(stored)
    assert (config.grn_scope, config.init_std) == ("image", "fan-in")
    written = config.to_dict()
    assert json.dumps({name: written[name] for name in sorted(stored)}) == json.dumps(stored)


def test_a_run_that_names_no_order_goes_on_in_that_of_earlier_releases() -> None:
    stored = json.loads(STORED)
    assert "order" not in stored and PretrainConfig().order == "dealt"
    begun = PretrainConfig(seed=3).as_begun(stored)
    assert (begun.order, begun.read_rows, begun.mix_blocks, begun.seed) == ("blocks", 5, 8, 3)
    assert PretrainConfig(seed=3).as_begun(PretrainConfig(read_rows=64).to_dict()) == PretrainConfig(seed=3)


def test_old_names_and_new_ones_say_the_same() -> None:
    old, new = {"response": "batch", "spread": "fan-in"}, {"grn_scope": "batch", "init_std": "fan-in"}
    assert PretrainConfig.from_dict(old) == PretrainConfig.from_dict(new) != PretrainConfig()
    with pytest.raises(Fatal, match="pretrain.response is the old name of pretrain.grn_scope; set only one of them"):
        PretrainConfig.from_dict(old | new)
    with pytest.raises(Fatal, match="unknown pretrain.grn_scope 'batsh'; did you mean 'batch'"):
        PretrainConfig.from_dict({"response": "batsh"})


def test_a_changed_configuration_is_checked_as_a_new_one_is() -> None:
    with pytest.raises(Fatal, match=r"pretrain\.batch_size must be at least 1, not 0\."):
        replace(PretrainConfig(), batch_size=0)
    with pytest.raises(Fatal, match="did you mean 'pretrain.steps'"):
        PretrainConfig(step=3)  # type: ignore[call-arg]


def test_a_preset_is_a_starting_point() -> None:
    config = PretrainConfig.from_dict({"preset": "demo", "steps": 7, "blr": 1})
    assert (config.encoder, config.steps, config.blr) == (PRESETS["demo"].encoder, 7, 1.0)
    assert isinstance(config.blr, float)
    assert PretrainConfig.from_dict({}) == PretrainConfig()


def test_epochs_that_are_set_count_before_the_steps_of_a_preset() -> None:
    config = PretrainConfig.from_dict({"preset": "demo", "epochs": 2})
    assert (config.epochs, config.steps) == (2, 0)
    assert PretrainConfig.from_dict({"preset": "demo", "epochs": 2, "steps": 5}).steps == 5
    assert PretrainConfig.from_dict(PRESETS["demo"].to_dict()) == PRESETS["demo"]


def test_defaults_hide_as_many_patches_as_published() -> None:
    config = PretrainConfig()
    assert (config.side**2, config.visible_patches) == (49, 19)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"batchsize": 3}, "unknown setting 'pretrain.batchsize'; did you mean 'pretrain.batch_size'"),
        ({"preset": "dmo"}, "unknown pretrain.preset 'dmo'; did you mean 'demo'"),
        ({"encoder": "atta"}, "unknown pretrain.encoder 'atta'; did you mean 'atto'"),
        ({"decoder": "pertask"}, "did you mean 'per-task'"),
        ({"weighting": "uncertain"}, "did you mean 'uncertainty'"),
        ({"device": "gpu"}, "unknown pretrain.device 'gpu'"),
        ({"batch_size": "many"}, "pretrain.batch_size must be a whole number, not 'many'"),
        ({"batch_size": 1.5}, "pretrain.batch_size must be a whole number"),
        ({"epochs": True}, "pretrain.epochs must be a whole number"),
        ({"blr": "fast"}, "pretrain.blr must be a number"),
        ({"encoder": 3}, "pretrain.encoder must be text"),
        ({"inputs": "sentinel2"}, "pretrain.inputs must be a list, such as [\"sentinel2\"], not 'sentinel2'"),
        ({"bands": ["B1"]}, "pretrain.bands must be a table"),
        ({"bands": {"a": "B1"}}, "pretrain.bands.a must be a list, such as [\"B1\"], not 'B1'"),
        ({"betas": [0.9]}, "pretrain.betas[1] is not set"),
        ({"betas": ["a", "b"]}, "pretrain.betas[0] must be a number, not 'a'"),
        ({"image_px": 100}, "image_px 100 is not a multiple of patch_px 16"),
        ({"patch_px": 12}, "patch_px must be a multiple of 8, not 12"),
        ({"patch_px": 0}, "pretrain.patch_px must be at least 8, not 0"),
        ({"mask_ratio": 1.0}, "pretrain.mask_ratio must be below 1, not 1.0"),
        ({"image_px": 16, "mask_ratio": 0.6}, "hides every patch"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"seed": -1}, "pretrain.seed must be at least 0, not -1"),
        ({"warmup": 1.0}, "pretrain.warmup must be below 1, not 1.0"),
        ({"blr": float("nan")}, "pretrain.blr must be a finite number, not nan"),
        ({"betas": [0.9, 1]}, "pretrain.betas[1] must be below 1, not 1"),
        ({"skip_hidden": 1}, "pretrain.skip_hidden must be true or false, not 1"),
        ({"presence": "band"}, "pretrain.presence must be true, false or \"bands\", not 'band'"),
        ({"presence": 1}, 'pretrain.presence must be true, false or "bands", not 1'),
        ({"weight_decay": -1}, "pretrain.weight_decay must be at least 0, not -1"),
        ({"blr": 0}, "pretrain.blr must be above 0, not 0"),
        ({"clip_grad": -1}, "pretrain.clip_grad must be at least 0, not -1"),
        ({"bad_steps": 0}, "pretrain.bad_steps must be at least 1, not 0"),
    ],
)
def test_refusals(plain: dict[str, Any], message: str) -> None:
    with pytest.raises(Fatal) as refusal:
        PretrainConfig.from_dict(plain)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
