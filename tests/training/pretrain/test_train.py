"""Pretraining as a whole: it learns, it goes on exactly where it was stopped, and it refuses in one sentence."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.progress import Silent
from tests.pipeline.chips import make_manifest
from tests.training.corpora import ALL, CONFIG, ECHO, LIGHT, SIZE_PX, chips_of, make_corpus
from training.config import PretrainConfig
from training.pretrain.resolved_run import resolve_run
from training.pretrain.train import Trainer, learning_rate, pretrain
from training.weights import checkpoint
from training.weights.weights import load_encoder

DATA = {"light", "echo", "ground", "weather", "culture"}


class Stopped(Exception):
    """The user's patience ends."""


class Recorder(Silent):
    """Keeps every loss, and stops the run after `patience` steps."""

    def __init__(self, patience: int | None = None) -> None:
        self.patience = patience
        self.began: tuple[int, int] = (0, 0)
        self.losses: list[float] = []
        self.said: list[str] = []

    def start(self, stage: str, total: int, done: int = 0) -> None:
        self.began = (total, done)

    def note(self, **figures: float | str) -> None:
        self.losses.append(float(figures["loss"]))

    def say(self, sentence: str) -> None:
        self.said.append(sentence)

    def advance(self, count: int = 1) -> None:
        if len(self.losses) == self.patience:
            raise Stopped


@pytest.fixture(scope="module")
def whole(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[float], Path, Path]:
    """Losses, last checkpoint and run folder of an uninterrupted run."""
    recorder, folder = Recorder(), tmp_path_factory.mktemp("whole")
    result = pretrain(corpus.folder, CONFIG, folder, recorder)
    return recorder.losses, result.checkpoint, folder


def assert_same_state(one: Path, other: Path) -> None:
    a, b = checkpoint.read(one), checkpoint.read(other)
    assert a["model"].keys() == b["model"].keys()
    assert all(torch.equal(value, b["model"][name]) for name, value in a["model"].items())
    moments = [(a["optimiser"]["state"][key], b["optimiser"]["state"][key]) for key in a["optimiser"]["state"]]
    assert all(torch.equal(x[name], y[name]) for x, y in moments for name in ("exp_avg", "exp_avg_sq", "step"))
    assert repr(a["history"]) == repr(b["history"])


def logged_losses(folder: Path) -> list:
    """The total loss as TensorBoard would draw it: what a stopped run logged beyond its checkpoint is superseded."""
    return EventAccumulator(str(folder / "tensorboard")).Reload().Scalars("loss")


def next_second() -> None:
    """TensorBoard reads files by name: the second, then a counter of the process that it does not sort as a number."""
    time.sleep(1.01 - time.time() % 1)


def test_a_run_ends_with_its_encoder_in_a_file_of_its_own(corpus: Corpus, tmp_path: Path) -> None:
    result = pretrain(corpus.folder, replace(CONFIG, steps=2), tmp_path)
    loaded = load_encoder(tmp_path)
    state = torch.load(result.checkpoint, weights_only=True)["model"]
    assert result.weights == tmp_path / "encoder.safetensors" and result.weights.exists()
    assert all(torch.equal(item, state[f"encoder.{name}"]) for name, item in loaded.encoder.state_dict().items())
    assert loaded.facts["step"] == 2 and list(loaded.normalisation.band_names) == ["light"]


@pytest.mark.slow
def test_the_losses_fall(corpus: Corpus, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=45, batch_size=8, blr=0.35, decoder_width=32, checkpoint_every=1000)
    result = pretrain(make_corpus(tmp_path, 10).folder, config, tmp_path / "run")
    assert result.first_losses.keys() == result.last_losses.keys() == DATA
    ratios = {name: result.last_losses[name] / result.first_losses[name] for name in DATA}
    assert all(ratio < 0.85 for ratio in ratios.values()), ratios
    assert result.steps == 45 and result.samples_per_s > 0


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(patience=st.integers(1, 6), every=st.integers(1, 4))
def test_stopped_and_relaunched_is_as_if_never_stopped(
    corpus: Corpus,
    whole: tuple[list[float], Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
    patience: int,
    every: int,
) -> None:
    folder, config = tmp_path_factory.mktemp("parts"), replace(CONFIG, checkpoint_every=every)
    with pytest.raises(Stopped):
        pretrain(corpus.folder, config, folder, Recorder(patience))
    next_second()
    rest = Recorder()
    result = pretrain(corpus.folder, config, folder, rest)
    done = 6 if patience == 6 else patience // every * every
    assert rest.began == (6, done)
    assert rest.losses == whole[0][done:]
    assert [event.step for event in logged_losses(folder)] == [1, 2, 3, 4, 5, 6]
    assert_same_state(result.checkpoint, whole[1])


def test_a_finished_run_has_nothing_left_to_do(corpus: Corpus, whole: tuple[list[float], Path, Path]) -> None:
    recorder = Recorder()
    result = pretrain(corpus.folder, CONFIG, whole[2], recorder)
    assert (recorder.losses, result.steps, result.checkpoint, result.samples_per_s) == ([], 6, whole[1], 0.0)
    assert result.last_losses.keys() == DATA


def test_what_a_run_leaves(corpus: Corpus, whole: tuple[list[float], Path, Path]) -> None:
    losses, path, folder = whole
    run = json.loads((folder / "run.json").read_text())
    assert PretrainConfig.from_dict(run["config"]) == replace(CONFIG, targets=tuple(run["config"]["targets"]))
    assert run["versions"]["torch"] == version("torch")
    assert (run["steps"], run["steps_per_epoch"], run["train_rows"], run["shards"]) == (6, 4, 16, [0, 1, 2])
    assert run["environment"]["processes"] == 1 and run["environment"]["precision"] == "float32"
    assert len(run["corpus"]) == 64
    position = json.loads(path.with_suffix(".json").read_text())["position"]
    upcoming = resolve_run(corpus, CONFIG).loader.batch(6).rows[0]
    assert position == {"epoch": 1, "shard": upcoming // 8, "row": upcoming}
    assert run["layers"]["light"]["bands"] == ["red", "green"]
    assert set(run["layers"]["light"]["groups"]) == {"l1c", "l2a"}
    assert sorted(item.name for item in path.parent.iterdir()) == [
        "step-00000004.json", "step-00000004.pt", "step-00000006.json", "step-00000006.pt",
    ]  # fmt: skip


def test_the_log_holds_every_step(whole: tuple[list[float], Path, Path]) -> None:
    total = logged_losses(whole[2])
    assert [event.step for event in total] == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose([event.value for event in total], whole[0], rtol=1e-6)
    tags = set(EventAccumulator(str(whole[2] / "tensorboard")).Reload().Tags()["scalars"])
    speed = {"samples_per_s", "data_wait_share", "mfu"}
    assert {f"loss/{name}" for name in DATA} | {"lr", "gradient_norm"} | speed <= tags
    assert "loss/nothing" not in tags


def test_one_step_is_adamw_with_the_scheduled_rate(corpus: Corpus, tmp_path: Path) -> None:
    """AdamW's first update moves each weight by the rate, against its gradient's sign; kernels decay, tokens do not."""
    resolved = resolve_run(corpus, replace(CONFIG, weight_decay=0.5))
    trainer = Trainer(resolved, tmp_path)
    token, kernel = trainer.model.mask_token, trainer.model.proj.weight
    for weights in (token, kernel):
        torch.nn.init.normal_(weights)
    before = [weights.detach().clone() for weights in (token, kernel)]
    trainer._take_step([resolved.loader.batch(0)])
    rate = learning_rate(0, 6, CONFIG, 4)
    for weights, old, decay in zip((token, kernel), before, (0, 0.5), strict=True):
        expected = old * (1 - rate * decay) - rate * weights.grad / (weights.grad.abs() + 1e-8)
        torch.testing.assert_close(weights.detach(), expected, rtol=1e-5, atol=1e-6)


def test_learning_rate_warms_up_and_fades() -> None:
    config = replace(CONFIG, blr=1.5e-4, warmup=0.2)
    rates = [learning_rate(step, 100, config, 4096) for step in range(100)]
    assert max(rates) == pytest.approx(2.4e-3) and rates.index(max(rates)) in (19, 20)
    np.testing.assert_allclose(rates[:20], 2.4e-3 * np.arange(1, 21) / 20)
    assert rates[60] == pytest.approx(1.2e-3) and rates[99] < 2e-6
    assert learning_rate(0, 1, config, 256) == 1.5e-4


def test_epochs_count_when_no_steps_are_given(corpus: Corpus, tmp_path: Path) -> None:
    assert pretrain(corpus.folder, replace(CONFIG, steps=0, epochs=2), tmp_path).steps == 2 * (16 // 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": ()}, "pretrain.inputs names no modality"),
        ({"inputs": ("ligth",)}, "unknown modality 'ligth'; did you mean 'light'"),
        ({"targets": ("soil",)}, "unknown modality 'soil'"),
        ({"bands": {"lite": ("red",)}}, "unknown modality 'lite'"),
        ({"inputs": ("weather",)}, "'weather' has one value per chip and cannot be an input"),
        ({"inputs": ("nothing",)}, "input 'nothing' holds no data"),
        ({"targets": ("nothing",)}, "no target holds data in the train rows, of 'nothing'; name another in pretrain"),
        ({"targets": ("-light",)}, "begin with what they are left out of, as ['@all', '-light']"),
        ({"inputs": ("@colour",)}, "selects no modality of this corpus; name some of culture, echo, ground, light,"),
        ({"image_px": 40}, "pretrain.image_px 40 is larger than the corpus's 32 px chips"),
    ],
)
def test_refuses_what_does_not_fit_before_writing(corpus: Corpus, tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(Fatal) as refusal:
        pretrain(corpus.folder, replace(CONFIG, **changes), tmp_path / "run")
    assert message in str(refusal.value)
    assert not (tmp_path / "run").exists()


def test_refuses_a_corpus_without_finished_shards(tmp_path: Path) -> None:
    make_manifest(tmp_path, 10, SIZE_PX)
    Corpus.create(tmp_path, [LIGHT], 8)
    with pytest.raises(Fatal, match="run `geocorpus export` first"):
        pretrain(tmp_path, CONFIG, tmp_path / "run")


def test_a_corpus_that_is_being_built_is_refused_unless_asked(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    corpus.ledger.path("echo", 1).unlink()
    with pytest.raises(Fatal, match="1 of 3 shards in .* are not finished; .* set pretrain.unfinished = true"):
        pretrain(corpus.folder, CONFIG, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_keeps_to_the_shards_that_it_began_with(tmp_path: Path) -> None:
    """The corpus grows while the run is stopped: rows, statistics and so the weights are those of the beginning."""
    corpus, config = make_corpus(tmp_path / "corpus"), replace(CONFIG, unfinished=True)
    later = corpus.ledger.read("echo", 1)
    corpus.ledger.path("echo", 1).unlink()
    whole = pretrain(corpus.folder, config, tmp_path / "whole")
    with pytest.raises(Stopped):
        pretrain(corpus.folder, config, tmp_path / "parts", Recorder(3))
    corpus.ledger.mark(later)
    recorder = Recorder()
    result = pretrain(corpus.folder, config, tmp_path / "parts", recorder)
    assert recorder.began == (6, 2)
    assert_same_state(result.checkpoint, whole.checkpoint)
    runs = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("whole", "parts")]
    assert runs[0]["shards"] == runs[1]["shards"] == [0, 2] and runs[0]["layers"] == runs[1]["layers"]
    pretrain(corpus.folder, config, tmp_path / "new")
    new = json.loads((tmp_path / "new" / "run.json").read_text())
    assert new["shards"] == [0, 1, 2] and new["layers"]["echo"] != runs[0]["layers"]["echo"]


def test_refuses_a_corpus_without_train_rows(tmp_path: Path) -> None:
    make_manifest(tmp_path, 1, SIZE_PX)  # Number 0 is in val.
    Corpus.create(tmp_path, [LIGHT], 8)
    with pytest.raises(Fatal, match="has no train rows"):
        pretrain(tmp_path, CONFIG, tmp_path / "run")


def test_refuses_a_checkpoint_of_another_configuration(corpus: Corpus, whole: tuple[list[float], Path, Path]) -> None:
    said = r"was begun with pretrain\.weighting = .*, not 'sum' \(and with another seed\); .* pretrain\.run=NAME"
    with pytest.raises(Fatal, match=said):
        pretrain(corpus.folder, replace(CONFIG, seed=1, weighting="sum"), whole[2])


def test_refuses_a_checkpoint_of_another_corpus(tmp_path: Path, whole: tuple[list[float], Path, Path]) -> None:
    other = make_corpus(tmp_path, 30)
    with pytest.raises(Fatal, match="was made from another corpus"):
        pretrain(other.folder, CONFIG, whole[2])


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_names_a_damaged_checkpoint_and_goes_on_from_the_one_before(corpus: Corpus, tmp_path: Path) -> None:
    result = pretrain(corpus.folder, CONFIG, tmp_path)
    whole = result.checkpoint.read_bytes()
    damage(result.checkpoint)
    recorder = Recorder()
    pretrain(corpus.folder, CONFIG, tmp_path, recorder)
    assert recorder.began == (6, 4)
    assert recorder.said == [f"Checkpoint {result.checkpoint} is damaged; going on from step 4 instead."]
    assert result.checkpoint.read_bytes() == whole


def test_does_not_begin_anew_by_itself_when_every_checkpoint_is_damaged(corpus: Corpus, tmp_path: Path) -> None:
    result = pretrain(corpus.folder, CONFIG, tmp_path)
    for path in result.checkpoint.parent.glob("*.pt"):
        damage(path)
    with pytest.raises(Fatal, match="every checkpoint in .* is damaged; put one back, or delete them to begin anew"):
        pretrain(corpus.folder, CONFIG, tmp_path)


def test_the_newest_checkpoints_stay_and_every_so_many(corpus: Corpus, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=10, checkpoint_every=1, checkpoints_kept=3, keep_every=4)
    result = pretrain(corpus.folder, config, tmp_path)
    kept = sorted(checkpoint.step_of(path) for path in result.checkpoint.parent.glob("*.pt"))
    assert kept == [4, 8, 9, 10]


def test_a_checkpoint_from_before_a_setting_was_known_still_serves(corpus: Corpus, tmp_path: Path) -> None:
    result = pretrain(corpus.folder, CONFIG, tmp_path)
    beside = result.checkpoint.with_suffix(".json")
    description = json.loads(beside.read_text())
    del description["config"]["precision"]
    beside.write_text(json.dumps(description))
    assert pretrain(corpus.folder, CONFIG, tmp_path).samples_per_s == 0
    with pytest.raises(Fatal, match="was begun with pretrain.precision = .*, not 'bf16'; .*pretrain.run=NAME"):
        pretrain(corpus.folder, replace(CONFIG, precision="bf16"), tmp_path)


def test_a_checkpoint_without_its_description_does_not_count(corpus: Corpus, tmp_path: Path) -> None:
    """The description is written last: a crash between the two leaves the older checkpoint as the newest."""
    result = pretrain(corpus.folder, CONFIG, tmp_path)
    result.checkpoint.with_suffix(".json").unlink()
    recorder = Recorder()
    assert_same_state(pretrain(corpus.folder, CONFIG, tmp_path, recorder).checkpoint, result.checkpoint)
    assert recorder.began == (6, 4)


def test_a_checkpoint_that_cannot_be_written_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where a folder should be")
    with pytest.raises(Fatal, match="cannot write"):
        pretrain(corpus.folder, CONFIG, tmp_path / "run")


def test_values_that_are_no_numbers_stop_the_run_by_name(tmp_path: Path) -> None:
    make_manifest(tmp_path, 10, SIZE_PX)
    corpus = Corpus.create(tmp_path, [LIGHT, ECHO], 16)
    blocks = {item.name: chips_of(item, corpus.manifest, range(10)) for item in (LIGHT, ECHO)}
    blocks["echo"][:, 0] = math.inf
    with np.errstate(all="ignore"):
        for name, block in blocks.items():
            corpus.write(corpus.shards[0], name, block, {})
    config = replace(CONFIG, log_every=50, checkpoint_every=3, micro_batch=2, bad_steps=1)
    with pytest.raises(Fatal, match="at step 1, modality 'echo' holds values that are no numbers") as refusal:
        pretrain(tmp_path, config, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()
    kept = tmp_path / "run" / "bad-batch-step-00000001.pt"
    assert f"the chips are kept in {kept}" in str(refusal.value)
    bad = torch.load(kept, weights_only=True)
    assert len(bad["rows"]) == 2 and set(bad["rows"]) <= set(corpus.manifest.rows_of("train"))
    assert not torch.isfinite(bad["values"]["echo"]).all() and torch.isfinite(bad["values"]["light"]).all()
    assert bad["valid"]["echo"].shape == bad["values"]["echo"].shape and bad["visible"].shape == (2, 3, 3)


def test_a_loss_that_explodes_stops_the_run_by_name(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(Fatal, match=r"the (loss|gradients) of '\w+' (is|are) (nan|inf|not finite); lower pretrain.blr"):
        pretrain(corpus.folder, replace(CONFIG, blr=1e30, warmup=0.0, log_every=50, bad_steps=1), tmp_path)


def test_what_explodes_between_two_looks_never_reaches_a_checkpoint(corpus: Corpus, tmp_path: Path) -> None:
    """The rate is sane for four steps and saved at the third; nothing looks at steps 4 to 6 until the end."""
    config = replace(CONFIG, steps=6, checkpoint_every=3, log_every=50, bad_steps=1)
    trainer = Trainer(resolve_run(corpus, config), tmp_path)
    sane = trainer._rate
    trainer._rate = lambda step: sane(step) if step < 4 else 1e30
    with pytest.raises(Fatal, match=f"at step 6, the loss of .* kept in {tmp_path / 'bad-batch-step-00000006.pt'}"):
        trainer.run(Silent())
    assert [path.name for path in (tmp_path / "checkpoints").glob("*.pt")] == ["step-00000003.pt"]
    weights = trainer.model.state_dict()
    assert all(bool(torch.isfinite(one).all()) for one in weights.values()), "the update that was no number was taken"
    rows = torch.load(tmp_path / "bad-batch-step-00000006.pt", weights_only=True)["rows"]
    assert rows == list(trainer.resolved.loader.batch(5).rows)


KILLED = """
import sys
from pathlib import Path
from tests.training.corpora import CONFIG
from dataclasses import replace
from importlib.metadata import version
from pipeline.progress import Silent
from training.pretrain.train import pretrain

class Talk(Silent):
    def advance(self, count=1):
        print("step", flush=True)

pretrain(Path(sys.argv[1]), replace(CONFIG, steps=12, checkpoint_every=3), Path(sys.argv[2]), Talk())
print("end", flush=True)
"""


@pytest.mark.slow
def test_kill_minus_nine_at_any_moment(corpus: Corpus, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    config = replace(CONFIG, steps=12, checkpoint_every=3)
    expected = pretrain(corpus.folder, config, tmp_path / "whole").checkpoint

    def launch() -> subprocess.Popen[str]:
        arguments = [sys.executable, "-c", KILLED, str(corpus.folder), str(tmp_path / "run")]
        return subprocess.Popen(arguments, cwd=root, stdout=subprocess.PIPE, text=True)

    for round_, steps in enumerate((1, 4, 3, 5)):
        process = launch()
        for _ in range(steps):
            process.stdout.readline()
        time.sleep(0.005 * round_)  # Into the next step, or into the writing of a checkpoint.
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert launch().communicate()[0].endswith("end\n")
    assert_same_state(tmp_path / "run" / "checkpoints" / expected.name, expected)
    assert [event.step for event in logged_losses(tmp_path / "run")] == list(range(1, 13))
    assert not list((tmp_path / "run").rglob(f"*{durable.TEMPORARY_SUFFIX}"))


def test_modalities_are_trained_whatever_they_are(whole: tuple[list[float], Path, Path]) -> None:
    """All layers of the store are targets unless some are chosen."""
    layers = json.loads((whole[2] / "run.json").read_text())["layers"]
    assert set(layers) == {modality.name for modality in ALL}


@pytest.mark.parametrize("name", ["light", "ground"])
def test_a_hundred_zeroed_bytes_are_not_trained_on(tmp_path: Path, name: str) -> None:
    corpus = make_corpus(tmp_path)
    path = corpus.object_path(name, corpus.shards[1])
    content = path.read_bytes()
    path.write_bytes(content[:300] + bytes(100) + content[400:])
    with pytest.raises(Fatal, match=f"shard 1 of '{name}' in .* is damaged .row .* (checksum|size).*geocorpus verify"):
        pretrain(corpus.folder, CONFIG, tmp_path / "run")


@pytest.mark.parametrize("name", ["light", "ground", "weather"])
def test_exchanged_shards_are_not_trained_on(tmp_path: Path, name: str) -> None:
    corpus = make_corpus(tmp_path)
    paths = [corpus.object_path(name, shard) for shard in corpus.shards[:2]]
    for path, content in zip(paths, [path.read_bytes() for path in reversed(paths)], strict=True):
        path.write_bytes(content)
    with pytest.raises(Fatal, match=f"shard [01] of '{name}' in .* is not what the ledger says"):
        pretrain(corpus.folder, CONFIG, tmp_path / "run")


def test_a_corpus_of_format_1_trains_the_same(tmp_path: Path, whole: tuple[list[float], Path, Path]) -> None:
    corpus = make_corpus(tmp_path, format_version=1)
    recorder = Recorder()
    pretrain(corpus.folder, CONFIG, tmp_path / "run", recorder)
    assert recorder.losses == whole[0]
