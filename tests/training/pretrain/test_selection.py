"""Layers chosen by what they are, on a corpus of made-up layers of every kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.modality import Display, Modality
from tests.training.corpora import ALL, CONFIG, LIGHT
from training.config import PRETEXTS, PretrainConfig
from training.pretrain.resolved_run import resolve_run
from training.pretrain.selection import resolve_names

PICTURE = replace(LIGHT, display=Display("rgb", ("green", "red"), 0, 3000))
MODALITIES: dict[str, Modality] = {one.name: one for one in (PICTURE, *ALL[1:])}
PIXEL, IMAGE = ("light", "echo", "ground", "nothing"), ("weather", "culture")


def chosen(**data: Any) -> PretrainConfig:
    return resolve_names(PretrainConfig.from_dict(data), MODALITIES)


@pytest.mark.parametrize(
    ("pretext", "targets", "bands"),
    [
        ("all", ("light", "echo", "ground", "weather", "culture", "nothing"), {}),
        ("pixel", PIXEL, {}),
        ("image", IMAGE, {}),
        ("inputs", ("light",), {}),
        ("rgb", ("light",), {"light": ("green", "red")}),
    ],
)
def test_every_pretext_from_the_layer_in_colour(pretext: str, targets: tuple[str, ...], bands: dict) -> None:
    config = chosen(pretext=pretext)
    assert (config.inputs, config.targets, config.bands) == (("light",), targets, bands)


def test_a_preset_and_a_pretext_and_settings_over_both() -> None:
    config = chosen(preset="atto_56", pretext="image", inputs=["echo", "light"], batch_size=3)
    assert (config.image_px, config.batch_size) == (56, 3)
    assert (config.inputs, config.targets) == (("echo", "light"), IMAGE)
    assert set(PRETEXTS) == {"all", "pixel", "image", "inputs", "rgb"}


def test_names_selectors_and_what_to_leave_out_go_together() -> None:
    config = chosen(inputs=["echo", "@colour"], targets=["@pixel", "weather", "-nothing", "echo"])
    assert config.inputs == ("echo", "light")
    assert config.targets == ("light", "echo", "ground", "weather")
    assert chosen(inputs=["echo", "light"], targets=["@inputs", "-echo"]).targets == ("light",)


def test_a_name_has_precedence_over_a_selector_for_bands() -> None:
    config = chosen(bands={"light": ["haze", "@display"], "@pixel": ["up"]})
    assert config.bands["light"] == ("haze", "green", "red")
    assert config.bands["echo"] == ("up",)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"pretext": "pixels"}, "unknown pretrain.pretext 'pixels'; did you mean 'pixel'"),
        ({"targets": ["@pixels"]}, "unknown selector '@pixels'; did you mean '@pixel'"),
        ({"inputs": ["@image", "-weather", "-culture"]}, "selects no modality of this corpus"),
        ({"targets": ["@all", "-wether"]}, "unknown modality 'wether'; did you mean 'weather'"),
        ({"bands": {"echo": ["@display"]}}, "does not say which bands it is shown in"),
    ],
)
def test_refusals(plain: dict[str, Any], message: str) -> None:
    with pytest.raises(Fatal) as refusal:
        chosen(**plain)
    assert message in str(refusal.value)


def test_a_run_keeps_the_names_and_what_prepares_its_input(corpus: Corpus) -> None:
    resolved = resolve_run(corpus, replace(CONFIG, inputs=("light",), targets=("@image",)))
    assert resolved.identity["config"]["targets"] == ["culture", "weather"]
    assert [item["modality"]["name"] for item in resolved.identity["inputs"]] == ["light"]
    with pytest.raises(Fatal, match="selects no modality"):
        resolve_run(corpus, replace(CONFIG, inputs=("@colour",)))
