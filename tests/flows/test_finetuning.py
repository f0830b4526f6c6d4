"""The `finetune` stage and `convert`, on a tiny corpus of made-up layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.extras import NO_TORCH

pytest.importorskip("torch", reason=NO_TORCH)

import torch

from flows.benchmarks.linear_rows import BANDS, FROZEN
from flows.closing import as_json
from flows.finetune_task import Task
from flows.finetuning import FINETUNED, convert, finetune
from flows.settings import parse
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.progress import Silent
from tests.training.conftest import one_thread  # noqa: F401 (a fixture that every test here uses)
from tests.training.corpora import make_corpus
from tests.training.published_sparse import make_checkpoint, make_state
from training.architecture import Size
from training.evaluate.finetuned import load_finetuned
from training.evaluate.recipe import RECIPES
from training.layer import layer_of
from training.model.encoder import Encoder, initialise
from training.model.normalisation import Normalisation
from training.weights.pretrained import Pretrained
from training.weights.weights import load_encoder, save_encoder

TINY = Size((1, 1, 1, 1), (4, 4, 4, 4))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    corpus = make_corpus(tmp_path_factory.mktemp("corpus"))
    normalisation = Normalisation.of([layer_of(corpus, "light", {})])
    torch.manual_seed(0)
    encoder = Encoder(normalisation.channels, TINY, 8)
    initialise(encoder)
    save_encoder(corpus.folder / "encoder.safetensors", Pretrained(encoder, normalisation))
    return corpus


@pytest.mark.parametrize(("label", "per"), [("culture", "chip"), ("ground", "chip"), ("ground", "pixel")])
def test_adapts_to_a_layer_and_keeps_the_model(corpus: Corpus, label: str, per: str) -> None:
    data = {"weights": str(corpus.folder), "label": label, "per": per, "recipe": "linear", "epochs": 2, "blr": 1,
             "device": "cpu"}  # fmt: skip
    said = finetune(parse({"corpus": {"folder": str(corpus.folder)}, "finetune": data}), Silent())
    assert f"{label} per {per}, " in said and "accuracy" in said
    told = as_json(said, str(corpus.folder))
    assert 0 <= told["accuracy"] <= 1 and Path(told["weights"]).is_file() and told["val_chips"] > 0
    assert set(told["beside"]) == {BANDS, FROZEN} and "\n" not in told["done"]
    headline = "mean iou" if per == "pixel" else "accuracy"
    assert f"{headline} beside it: {BANDS}: {told['beside'][BANDS][headline.replace(' ', '_')]:.3f}; {FROZEN}: " in said
    tuned = load_finetuned(corpus.folder / FINETUNED / f"{label}-{per}.safetensors")
    own = load_encoder(corpus.folder).encoder.state_dict()
    assert all(torch.equal(own[name], item) for name, item in tuned.model.encoder.state_dict().items())
    assert len(tuned.losses) == 2 and len(tuned.classes) == 3


def test_settings_over_a_recipe() -> None:
    task, recipe = Task.of({"weights": "a", "label": "b", "recipe": "dense", "epochs": 3, "blr": 1, "seed": 5})
    assert (task.per, recipe.epochs, recipe.blr, recipe.seed) == ("chip", 3, 1, 5)
    assert recipe.frozen == RECIPES["dense"].frozen


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"weights": "a"}, "finetune.label is not set"),
        ({"label": "a"}, "finetune.weights is not set"),
        ({"weights": "a", "label": "b", "recipe": "ful"}, "did you mean 'full'"),
        ({"weights": "a", "label": "b", "per": "chips"}, "did you mean 'chip'"),
        ({"weights": "a", "label": "b", "epoch": 1}, "did you mean 'finetune.epochs'"),
        ({"weights": "a", "label": "b", "epochs": 1.5}, "finetune.epochs must be a whole number, not 1.5"),
        ({"weights": "a", "label": "b", "seed": "x"}, "finetune.seed must be a whole number, not 'x'"),
        ({"weights": "a", "label": "b", "frozen": 2}, "finetune.frozen must be at most 1, not 2"),
        ({"weights": "a", "label": 3}, "finetune.label must be text, not 3"),
        ({"weights": 3, "label": "b"}, "finetune.weights must be text, not 3"),
        ({"weights": "a", "label": "b", "betas": [0.9, 1]}, "finetune.betas[1] must be below 1, not 1"),
        ({"weights": "a", "label": "b", "recip": "full"}, "did you mean 'finetune.recipe'"),
    ],
)
def test_refusals(plain: dict[str, Any], message: str) -> None:
    with pytest.raises(Fatal) as refusal:
        Task.of(plain)
    assert message in str(refusal.value)


def test_a_published_checkpoint_becomes_a_file_that_stands_alone(tmp_path: Path) -> None:
    state = make_state((1, 1, 1, 1), (4, 4, 4, 4), 12, 8, "modified")
    source = make_checkpoint(tmp_path / "checkpoint-199.pth", state)
    said = convert(str(source), tmp_path / "mmearth.safetensors", None)
    assert "modified stem, patch 8 px, looks at sentinel2 B1, B2" in said
    image = torch.randn(1, 12, 16, 16)
    theirs, ours = load_encoder(source), load_encoder(tmp_path / "mmearth.safetensors")
    assert torch.equal(theirs.encoder(image), ours.encoder(image))
    assert ours.facts["published"] == "checkpoint-199.pth"
