"""Contrastive pretraining as a run: it goes on where it was stopped, in any processes, and leaves its towers."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.training.corpora import CONFIG
from tests.training.pretrain.test_train import Recorder, Stopped, assert_same_state, logged_losses, next_second
from tests.training.sensor_corpus import CONTRASTIVE, SENSORS, make_sensors
from training.evaluate.finetune import finetune
from training.evaluate.probed import untrained
from training.evaluate.recipe import RECIPES
from training.evaluate.samples import Samples
from training.model.tower import Tower
from training.pretrain.train import pretrain
from training.weights import checkpoint
from training.weights.weights import load_encoder, save_encoder


@pytest.fixture(scope="module")
def sensors(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_sensors(tmp_path_factory.mktemp("sensors"))


@pytest.fixture(scope="module")
def whole(sensors: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[float], Path, Path]:
    """Losses, last checkpoint and run folder of an uninterrupted run."""
    recorder, folder = Recorder(), tmp_path_factory.mktemp("whole")
    result = pretrain(sensors.folder, CONTRASTIVE, folder, recorder)
    return recorder.losses, result.checkpoint, folder


@pytest.mark.parametrize(("patience", "every"), [(3, 2), (4, 3)])
def test_stopped_and_relaunched_is_as_if_never_stopped(
    sensors: Corpus, whole: tuple[list[float], Path, Path], tmp_path: Path, patience: int, every: int
) -> None:
    config = replace(CONTRASTIVE, checkpoint_every=every)
    with pytest.raises(Stopped):
        pretrain(sensors.folder, config, tmp_path, Recorder(patience))
    next_second()
    rest = Recorder()
    result = pretrain(sensors.folder, config, tmp_path, rest)
    assert rest.losses == whole[0][patience // every * every :]
    assert [event.step for event in logged_losses(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert_same_state(result.checkpoint, whole[1])


def test_micro_batches_change_nothing_but_rounding(
    sensors: Corpus, whole: tuple[list[float], Path, Path], tmp_path: Path
) -> None:
    """Draws follow from the chips; the whole run was in parts of at most 3 of 8."""
    recorder = Recorder()
    pretrain(sensors.folder, replace(CONTRASTIVE, micro_batch=0), tmp_path, recorder)
    assert recorder.losses == pytest.approx(whole[0], rel=2e-3)


def test_a_run_leaves_a_file_per_sensor(sensors: Corpus, whole: tuple[list[float], Path, Path]) -> None:
    state = torch.load(whole[1], weights_only=True)["model"]
    for name in SENSORS:
        loaded = load_encoder(whole[2] / f"encoder-{name}.safetensors")
        assert isinstance(loaded.encoder, Tower) and list(loaded.normalisation.band_names) == [name]
        weights = loaded.encoder.state_dict()
        assert all(torch.equal(item, state[f"encoder.{name}.{part}"]) for part, item in weights.items())
        assert loaded.facts["step"] == 6 and loaded.facts["config"]["method"] == "contrastive"
    card = (whole[2] / "model_card.md").read_text()
    assert "# Encoders of light, echo and ground" in card and "An encoder for each sensor (zepto of light" in card
    assert 'load_encoder("encoder-light.safetensors")' in card and 'image({"light": stored}, groups)' in card
    tags = {event.step for event in logged_losses(whole[2])}
    assert tags == {1, 2, 3, 4, 5, 6} and "light-echo" in card


def test_a_tower_is_an_encoder_like_others(
    sensors: Corpus, whole: tuple[list[float], Path, Path], tmp_path: Path
) -> None:
    """Saved again, used on stored numbers, and drawn anew for a comparison."""
    loaded = load_encoder(whole[2] / "encoder-light.safetensors")
    save_encoder(tmp_path / "again.safetensors", loaded)
    again = load_encoder(tmp_path / "again.safetensors")
    stored = {"light": sensors.read("light", slice(0, 2))[:, [0, 2], :24, :24]}
    image = loaded.normalisation.image(stored, list(sensors.manifest.column("level")[:2]))
    assert torch.equal(again.encoder(image), loaded.encoder(image)) and again.encoder(image).shape == (2, 64, 3, 3)
    fresh = untrained(loaded.encoder, 3)
    assert isinstance(fresh, Tower) and not torch.equal(fresh(image), loaded.encoder(image))


def test_weights_of_another_method_are_refused_in_one_sentence(
    sensors: Corpus, whole: tuple[list[float], Path, Path]
) -> None:
    loaded = load_encoder(whole[2] / "encoder-light.safetensors")
    samples = Samples({"light": np.ones((2, 2, 24, 24), np.uint16)}, np.array([0, 1]), ("a", "b"), ["l1c", "l1c"])
    with pytest.raises(Fatal, match="a ViT tower, zepto, patch 8 px, which fine-tuning does not take; give those of"):
        finetune(loaded, samples, RECIPES["full"])
    with pytest.raises(Fatal, match="is of a run of method 'contrastive', which keeps no such encoder; give the file"):
        load_encoder(whole[1])
    with pytest.raises(Fatal, match=r"was begun with pretrain\.method = 'contrastive', not 'mpmae'"):
        pretrain(sensors.folder, replace(CONTRASTIVE, method="mpmae", options={}), whole[2])


@pytest.mark.parametrize("source", ["", "encoder-light.safetensors"])
def test_no_setting_makes_a_tower_the_start_of_another_method(
    sensors: Corpus, whole: tuple[list[float], Path, Path], tmp_path: Path, source: str
) -> None:
    config = replace(CONFIG, init=str(whole[2] / source))
    with pytest.raises(Fatal, match=r"and that of this run zepto, .* patch 8 px; give other weights in pretrain\.init"):
        pretrain(sensors.folder, config, tmp_path / "run")


def test_a_run_that_is_over_names_all_its_files_and_what_a_guess_loses(
    sensors: Corpus, whole: tuple[list[float], Path, Path]
) -> None:
    result = pretrain(sensors.folder, CONTRASTIVE, whole[2])
    assert result.files == tuple(whole[2] / f"encoder-{name}.safetensors" for name in SENSORS)
    assert all(path.exists() for path in result.files) and result.weights == result.files[0]
    assert result.losses_mean == "A guess among the 8 chips of a batch loses 2.08; 0 is certain and right."


@pytest.mark.slow
def test_losses_fall_below_chance(sensors: Corpus, tmp_path: Path) -> None:
    """Made-up fields differ from chip to chip, and all layers show the same one."""
    config = replace(CONTRASTIVE, steps=40, micro_batch=0, log_every=40, checkpoint_every=40)
    result = pretrain(sensors.folder, config, tmp_path)
    assert result.first_losses.keys() == {"light-echo", "light-ground", "echo-ground"}
    assert all(result.last_losses[name] < 0.8 * result.first_losses[name] for name in result.first_losses)


@pytest.mark.slow
def test_two_processes_train_as_one(sensors: Corpus, whole: tuple[list[float], Path, Path], tmp_path: Path) -> None:
    recorder = Recorder()
    pretrain(sensors.folder, replace(CONTRASTIVE, processes=2), tmp_path, recorder)
    assert recorder.losses == pytest.approx(whole[0], rel=2e-3)


KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
from pipeline.progress import Silent
from tests.training.sensor_corpus import CONTRASTIVE
from training.pretrain.train import pretrain

class Talk(Silent):
    def advance(self, count=1):
        print("step", flush=True)

pretrain(Path(sys.argv[1]), CONTRASTIVE, Path(sys.argv[2]), Talk())
print("end", flush=True)
"""


@pytest.mark.slow
def test_killed_or_terminated_it_ends_with_the_same_weights(
    sensors: Corpus, whole: tuple[list[float], Path, Path], tmp_path: Path
) -> None:
    root = Path(__file__).resolve().parents[3]
    for round_, ending in enumerate((signal.SIGKILL, signal.SIGTERM, None)):
        arguments = [sys.executable, "-c", KILLED, str(sensors.folder), str(tmp_path / "run")]
        process = subprocess.Popen(arguments, cwd=root, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(2 if ending else 0):
            process.stdout.readline()
        time.sleep(0.01 * round_)
        if ending:
            process.send_signal(ending)
        said = process.communicate()[0]
    assert said.splitlines()[-1] == "end"
    newest = checkpoint.complete(tmp_path / "run" / "checkpoints")[-1]
    assert_same_state(newest, whole[1])
