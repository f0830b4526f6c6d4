"""A method of one's own: the file in docs/methods.md trains, resumes and exports; a wrong one gets a sentence."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.progress import Silent
from tests.training.corpora import CONFIG
from training.config import PretrainConfig
from training.methods.mpmae import METHOD
from training.pretrain.pretext_net import build_net
from training.pretrain.registry import known_methods, method_of
from training.pretrain.resolved_run import resolve_run
from training.pretrain.step import Step
from training.pretrain.train import pretrain
from training.rank_slice import RankSlice
from training.runtime.device import Device
from training.runtime.distributed_context import DistributedContext
from training.weights import checkpoint
from training.weights.weights import load_encoder

PAGE = Path(__file__).resolve().parents[3] / "docs" / "methods.md"
SHORT = replace(CONFIG, checkpoint_every=2)


class Stopped(Exception):
    """The user's patience ends."""


class Impatient(Silent):
    """Stops after three steps."""

    steps = 0

    def advance(self, count: int = 1) -> None:
        self.steps += count
        if self.steps == 3:
            raise Stopped


def written(folder: Path, change: str = "", to: str = "") -> Path:
    """The page's method file in `folder`, with one change."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert change in code
    path = folder / "denoising.py"
    path.write_text(code.replace(change, to) if change else code)
    return path


def using(path: Path, config: PretrainConfig = SHORT, **options: Any) -> PretrainConfig:
    return replace(config, method="denoising", method_file=str(path), options=options)


@pytest.fixture(scope="module")
def run(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[PretrainConfig, Path]:
    """A finished run of the page's method: its configuration and folder."""
    folder = tmp_path_factory.mktemp("method")
    config = using(written(folder), noise=0.5)
    pretrain(corpus.folder, config, folder / "run")
    return config, folder / "run"


def test_the_page_s_method_leaves_what_every_run_leaves(run: tuple[PretrainConfig, Path]) -> None:
    _, folder = run
    facts = json.loads((folder / "run.json").read_text())
    assert facts["config"]["options"] == {"noise": 0.5} and facts["config"]["method"] == "denoising"
    assert facts["config"]["targets"] == facts["config"]["inputs"] == ["light"]
    names = {path.name for path in folder.iterdir()}
    left = {"run.json", "checkpoints", "tensorboard", "validation.json", "encoder.safetensors", "model_card.md"}
    assert names == left
    card = (folder / "model_card.md").read_text()
    assert "pretrained with geocorpus to remove noise of 0.5 standard deviations, for 6 steps" in card
    assert "`noise = 0.5`" in card and "| image |" in card and "mask_ratio" not in card


def test_it_learns(corpus: Corpus, tmp_path: Path) -> None:
    config = replace(using(written(tmp_path)), steps=40, blr=0.5, batch_size=8, init_std="fan-in", checkpoint_every=100)
    result = pretrain(corpus.folder, config, tmp_path / "run")
    assert result.last_losses["image"] < 0.7 * result.first_losses["image"]


def test_stopped_and_resumed_it_draws_the_same_noise(
    corpus: Corpus, run: tuple[PretrainConfig, Path], tmp_path: Path
) -> None:
    config, whole = run
    with pytest.raises(Stopped):
        pretrain(corpus.folder, config, tmp_path, Impatient())
    torch.rand(7)  # The run's draws are its own, wherever torch's generator stands.
    moved = written(tmp_path)  # and the file may have moved
    result = pretrain(corpus.folder, replace(config, method_file=str(moved)), tmp_path)
    states = [
        checkpoint.read(path)["model"] for path in (result.checkpoint, whole / "checkpoints" / "step-00000006.pt")
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(item, states[1][name]) for name, item in states[0].items())


def test_resumed_in_other_parts_it_would_draw_other_noise(corpus: Corpus, tmp_path: Path) -> None:
    config = using(written(tmp_path))
    with pytest.raises(Stopped):
        pretrain(corpus.folder, config, tmp_path / "run", Impatient())
    with pytest.raises(Fatal, match="draws random numbers, .* before 1 x 1 micro-batches on cpu, now 1 x 2 micro-"):
        pretrain(corpus.folder, replace(config, micro_batch=2), tmp_path / "run")
    assert pretrain(corpus.folder, replace(config, micro_batch=100), tmp_path / "run").steps == 6


def test_a_net_that_draws_nothing_may_be_resumed_in_other_parts(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        pretrain(corpus.folder, SHORT, tmp_path, Impatient())
    assert pretrain(corpus.folder, replace(SHORT, micro_batch=2), tmp_path).steps == 6


def test_its_weights_load_from_the_file_and_from_a_checkpoint(run: tuple[PretrainConfig, Path]) -> None:
    _, folder = run
    loaded = [load_encoder(folder), load_encoder(folder / "checkpoints" / "step-00000006.pt")]
    assert loaded[0].facts["config"]["method"] == "denoising"
    weights = [item.encoder.state_dict() for item in loaded]
    assert all(torch.equal(item, weights[1][name]) for name, item in weights[0].items())


@pytest.mark.parametrize(
    ("change", "to", "message"),
    [
        ("losses, counts > 0)", "losses.repeat(2), counts > 0)", r"losses .* are \[2\], and its loss_names 1"),
        ("losses, counts > 0)", "losses, True)", "active .* are bool, and its loss_names 1"),
        ("Objective(losses.sum(),", "Objective(losses.sum().item(),", "the total .* is no scalar tensor"),
        ("Objective(losses.sum(),", "Objective(losses.sum().detach(),", "has no graph, so that nothing would be lea"),
        ("Objective(losses.sum(), losses, counts > 0)", "losses.sum()", "gives a Tensor as its objective"),
        ("sum()[None]\n\n    def obj", "sum()\n\n    def obj", "counts of the net Denoiser are not one per loss"),
    ],
)  # fmt: skip
def test_an_objective_of_another_kind_is_one_sentence(
    corpus: Corpus, tmp_path: Path, change: str, to: str, message: str
) -> None:
    """Whether a look at val chips comes first or not."""
    config = replace(using(written(tmp_path, change, to)), steps=1)
    for val_every in (0, 1):
        with pytest.raises(Fatal, match=message) as refusal:
            pretrain(corpus.folder, replace(config, val_every=val_every), tmp_path / f"run-{val_every}")
    assert "Denoiser" in str(refusal.value) and "\n" not in str(refusal.value)


def test_refused_counts_leave_the_random_state_of_others(corpus: Corpus, tmp_path: Path) -> None:
    """At a look at val chips, whose random state is put back at once, and not when the memory is collected."""
    config = replace(using(written(tmp_path, "sum()[None]\n\n    def obj", "sum()\n\n    def obj")), val_every=1)
    before = torch.get_rng_state()
    with pytest.raises(Fatal, match="counts of the net Denoiser") as refusal:
        pretrain(corpus.folder, config, tmp_path / "run")
    assert refusal.value and torch.equal(torch.get_rng_state(), before)


def test_its_parts_add_up(corpus: Corpus, tmp_path: Path) -> None:
    resolved = resolve_run(corpus, using(written(tmp_path), replace(CONFIG, batch_size=12), noise=0.0))
    gradients = []
    for micro_batches in (1, 5):
        step = Step(build_net(resolved), resolved.config, Device.of(CONFIG), DistributedContext())
        stream = resolved.loader.batches(0, 1, rank_slice=RankSlice(micro_batches=micro_batches))
        step.take(list(stream), 12, 0.0)
        stream.close()
        gradients.append([item.grad for item in step.model.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


def test_a_file_may_define_dataclasses_and_look_at_its_values(corpus: Corpus, tmp_path: Path) -> None:
    """Dataclasses need their module's name known, and a net that looks at values has no operations to count."""
    line = "        losses = errors.sum()"
    path = written(tmp_path, line, f"        assert errors.sum().item() >= 0\n{line}")
    more = "\n\n@dataclass(frozen=True)\nclass Mine:\n    a: int\n"
    path.write_text("from __future__ import annotations\nfrom dataclasses import dataclass\n" + path.read_text() + more)
    assert pretrain(corpus.folder, replace(using(path), steps=1), tmp_path / "run").steps == 1


@pytest.mark.slow
def test_two_processes_draw_the_same_when_they_are_resumed(corpus: Corpus, tmp_path: Path) -> None:
    config = replace(using(written(tmp_path)), processes=2, steps=4)
    whole = pretrain(corpus.folder, config, tmp_path / "whole")
    with pytest.raises(Stopped):
        pretrain(corpus.folder, config, tmp_path / "parts", Impatient())
    parts = pretrain(corpus.folder, config, tmp_path / "parts")
    states = [checkpoint.read(result.checkpoint)["model"] for result in (whole, parts)]
    assert all(torch.equal(item, states[1][name]) for name, item in states[0].items())


def test_the_methods_that_come_along() -> None:
    assert "mpmae" in known_methods() and "pictures" not in known_methods()
    assert method_of(PretrainConfig()) is METHOD
    with pytest.raises(Fatal, match="unknown pretrain.method 'mpmea'; did you mean 'mpmae'?"):
        method_of(PretrainConfig.from_dict({"method": "mpmea"}))


def test_a_method_file_gives_the_method_its_name(tmp_path: Path) -> None:
    config = PretrainConfig.from_dict({"method_file": tmp_path / "mine.py"})
    assert (config.method, config.method_file) == ("mine", str(tmp_path / "mine.py"))
    assert PretrainConfig.from_dict(config.to_dict()) == config
    with pytest.raises(
        Fatal, match=r"pretrain.method is 'mpmae', and pretrain.method_file is .*mine.py; leave one out"
    ):
        PretrainConfig.from_dict({"method": "mpmae", "method_file": str(tmp_path / "mine.py")})


@pytest.mark.parametrize(
    ("change", "to", "message"),
    [
        ("import torch\n", "import torsh\n", "cannot be imported: ModuleNotFoundError: No module named 'torsh'; mend"),
        ("METHOD = Method(", "METHOD = dict(net=", "denoising.py defines no Method at its top level; define one"),
        ("METHOD = ", "OTHER = Method(Denoiser)\nMETHOD = ", "defines 2 Methods at its top level; define one"),
        ("def counts(", "def counted(", "denoising.py lacks counts; docs/methods.md says what a method gives"),
        ("def objective(", "def loss(", "denoising.py lacks objective; docs/methods.md"),
        ('loss_names = ("image",)', "pass", "denoising.py lacks loss_names; docs/methods.md"),
        ("(AdditivePretext)", "(nn.Module)", "lacks the base AdditivePretext or JointPretext; docs/methods.md"),
        ('config.options["noise"]', 'config.options["noise"]; self.encoder = None; return', "lacks encoder; docs/"),
        ("METHOD = Method(", "METHOD = Method(export=lambda net, inputs: {'a': Exported(net.decoder, inputs)}, build=",
         "exports 'a' as a Sequential, which files of weights do not hold; use an Encoder"),
        ("METHOD = Method(Denoiser", "METHOD = Method(dict",
         "denoising.py cannot be called with inputs, targets and config: dict expected at most 1 argument, got 3; "),
        ("METHOD = Method(Denoiser", "METHOD = Method(3", "config: 'int' object is not callable; docs/methods.md says"),
        ('{"noise": 0.3}', '{"noise": 3j}', "the option 'noise' of the method file"),
        ('{"noise": 0.3}', '{"noise": 3j}', "has a default that JSON has no value for (3j); give a number, text, "),
        ('{"noise": 0.3}', '[0.3]', "denoising.py are [0.3]; give a dict of names and their defaults"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_a_sentence(
    corpus: Corpus, tmp_path: Path, change: str, to: str, message: str
) -> None:
    path = written(tmp_path, change, to)
    path.write_text(
        path.read_text().replace("import AdditivePretext, Batch", "import Exported, AdditivePretext, Batch")
    )
    with pytest.raises(Fatal, match=re.escape(message)) as refusal:
        pretrain(corpus.folder, using(path), tmp_path / "run")
    assert "\n" not in str(refusal.value) and not (tmp_path / "run").exists()


def test_a_file_that_is_not_there_or_is_named_like_one_of_ours(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="denoising.py is not a Python file that exists; correct pretrain.method_file"):
        resolve_run(corpus, using(tmp_path / "denoising.py"))
    path = written(tmp_path).rename(tmp_path / "mpmae.py")
    with pytest.raises(Fatal, match="mpmae.py has the name of a built-in method; give the file another name"):
        resolve_run(corpus, PretrainConfig.from_dict({"method_file": str(path)}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nois": 0.1}, "unknown option of method 'denoising', 'nois'; did you mean 'noise'?"),
        ({"noise": "much"}, "pretrain.options.noise must be a number, not 'much'"),
    ],
)
def test_options_are_checked(corpus: Corpus, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(Fatal, match=re.escape(message)):
        resolve_run(corpus, using(written(tmp_path), **options))
    assert resolve_run(corpus, using(written(tmp_path), noise=1)).config.options == {"noise": 1.0}
    assert resolve_run(corpus, using(written(tmp_path))).config.options == {"noise": 0.3}


def test_a_method_without_options_takes_none(corpus: Corpus) -> None:
    with pytest.raises(Fatal, match="method 'mpmae' has no options; leave pretrain.options.noise out"):
        resolve_run(corpus, replace(CONFIG, options={"noise": 1.0}))


def test_a_run_goes_on_with_its_own_method_only(
    corpus: Corpus, run: tuple[PretrainConfig, Path], tmp_path: Path
) -> None:
    with pytest.raises(Fatal, match="was begun with pretrain.method = 'denoising', not 'mpmae' .*; give the new run"):
        pretrain(corpus.folder, SHORT, run[1])
    pretrain(corpus.folder, replace(SHORT, steps=2), tmp_path / "run")
    with pytest.raises(Fatal, match="was begun with pretrain.method = 'mpmae', not 'denoising' .*; give the new run"):
        pretrain(corpus.folder, replace(run[0], steps=2), tmp_path / "run")


def test_a_checkpoint_without_an_encoder_of_ours_does_not_load(corpus: Corpus, tmp_path: Path) -> None:
    path = written(tmp_path, "encoder_of(inputs, config)", 'encoder_of(inputs, replace(config, stem="original"))')
    path.write_text("from dataclasses import replace\n" + path.read_text())
    config = using(path)
    result = pretrain(corpus.folder, replace(config, steps=1), tmp_path / "run")
    assert load_encoder(tmp_path / "run").encoder.architecture.stem == "original"
    with pytest.raises(Fatal, match="is of a run of method 'denoising', which keeps no such encoder; give the file of"):
        load_encoder(result.checkpoint)
