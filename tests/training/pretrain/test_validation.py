"""Val chips during a run: the loss is that of a plain recomputation, and the run is the same with and without it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.training.corpora import CONFIG
from tests.training.pretrain.test_train import Recorder, Stopped, assert_same_state
from tests.training.sensor_corpus import CONTRASTIVE, make_sensors
from training.batch import Batch
from training.config import PretrainConfig
from training.data.centre import read_centre
from training.data.masking import visible_patches
from training.layer import groups_of
from training.model.frozen_scores import frozen_scores
from training.model.image import image_of
from training.pretrain.pretext_net import build_net
from training.pretrain.resolved_run import ResolvedRun, resolve_run
from training.pretrain.train import pretrain
from training.pretrain.validation import VALIDATION, interval
from training.runtime.metric_writer import MetricWriter
from training.weights import checkpoint

VALIDATED = replace(CONFIG, val_every=2, monitor="culture", pictures_every=0, keep_every=2)
VAL = np.arange(16, 20)


@pytest.fixture(scope="module")
def sensors(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_sensors(tmp_path_factory.mktemp("sensors"))


@pytest.fixture(scope="module")
def run(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("validated")
    pretrain(corpus.folder, VALIDATED, folder)
    return folder


def plain_batch(corpus: Corpus, resolved: ResolvedRun, rows: np.ndarray) -> Batch:
    """The centres of chips, by `Layer.values`."""
    config = resolved.config
    parts = {
        layer.name: layer.values(read_centre(corpus, layer.name, rows, config.image_px), groups_of(corpus, layer)[rows])
        for layer in resolved.layers
    }
    visible = visible_patches(config.seed, 0, rows, config.side, config.visible_patches)
    values, valid = ({name: torch.from_numpy(item[index]) for name, item in parts.items()} for index in (0, 1))
    return Batch(values, valid, torch.from_numpy(visible), tuple(rows.tolist()))


def records(folder: Path) -> dict[int, dict[str, float]]:
    return {item.pop("step"): item for item in json.loads((folder / VALIDATION).read_text())}


@pytest.mark.parametrize("step", [0, 2, 4, 6])
def test_losses_are_those_of_the_saved_weights(corpus: Corpus, run: Path, step: int) -> None:
    resolved = resolve_run(corpus, VALIDATED)
    net = build_net(resolved)
    if step:
        net.load_state_dict(checkpoint.read(run / "checkpoints" / f"step-{step:08d}.pt")["model"])
    batch = plain_batch(corpus, resolved, VAL)
    with torch.no_grad():
        expected = net.eval().objective(batch, net.counts(batch), 1.0)
    found = records(run)[step]
    assert found["val/loss"] == pytest.approx(float(expected.total), rel=1e-5)
    for name, loss, active in zip(net.loss_names, expected.losses, expected.active, strict=True):
        assert (f"val/loss/{name}" in found) == bool(active)
        assert not active or found[f"val/loss/{name}"] == pytest.approx(float(loss), rel=1e-5)


def test_the_monitor_scores_the_features_of_the_saved_weights(corpus: Corpus, run: Path) -> None:
    resolved = resolve_run(corpus, VALIDATED)
    net = build_net(resolved).eval()
    net.load_state_dict(checkpoint.read(run / "checkpoints" / "step-00000006.pt")["model"])
    features = []
    for rows in (np.setdiff1d(np.arange(20), VAL), VAL):
        rows = rows[rows % 4 != 3]  # without a label
        batch = plain_batch(corpus, resolved, rows)
        with torch.no_grad():
            image = image_of(resolved.inputs, batch.values, batch.valid)
            features += [net.encoder(image).mean(dim=(2, 3)).numpy(), rows % 4]
    expected = frozen_scores(*features)
    found = records(run)[6]
    assert {name: found[f"monitor/{name}"] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert records(run).keys() == {0, 2, 4, 6}


def test_the_run_is_the_same_without(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    without = pretrain(corpus.folder, replace(CONFIG, val_every=0), tmp_path)
    assert_same_state(without.checkpoint, run / "checkpoints" / "step-00000006.pt")
    assert without.validations == () and not (tmp_path / VALIDATION).exists()


def test_it_goes_on_with_what_it_found(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        pretrain(corpus.folder, VALIDATED, tmp_path, Recorder(3))
    result = pretrain(corpus.folder, VALIDATED, tmp_path)
    assert_same_state(result.checkpoint, run / "checkpoints" / "step-00000006.pt")
    assert records(tmp_path) == records(run)
    assert [item.step for item in result.validations] == [0, 2, 4, 6]


def test_micro_batches_change_nothing_but_rounding(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    pretrain(corpus.folder, replace(VALIDATED, micro_batch=1, steps=1), tmp_path)
    whole, parts = records(run)[0], records(tmp_path)[0]
    assert parts == pytest.approx(whole, rel=1e-5)


def test_the_card_and_the_log_have_them(run: Path) -> None:
    card = (run / "model_card.md").read_text()
    assert (
        "On 4 val chips, with the same masks each time; `monitor` is how well frozen features tell `culture`:" in card
    )
    assert "| on val chips | after 0 steps | after 6 |" in card and "| monitor/knn | " in card
    events = EventAccumulator(str(run / "tensorboard")).Reload().Scalars("val/loss")
    assert {event.step: event.value for event in events} == pytest.approx(
        {step: item["val/loss"] for step, item in records(run).items()}
    )


def test_steps_are_logged_in_their_order(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some logs drop what belongs to an earlier step than the last; metrics of steps wait on the device."""
    steps: list[int] = []
    monkeypatch.setattr(MetricWriter, "add", lambda _, step, metrics: steps.append(step))
    pretrain(corpus.folder, replace(VALIDATED, monitor="", log_every=5), tmp_path)
    assert steps == sorted(steps) and set(steps) == set(range(7))


def test_by_itself_it_costs_little(corpus: Corpus) -> None:
    """An epoch of 16 chips is 48 passes, of which 2 % are one chip: four chips are worth five epochs of four steps."""
    resolved = resolve_run(corpus, CONFIG)
    assert interval(resolved, 4) == 5 * resolved.loader.steps_per_epoch
    assert interval(resolve_run(corpus, replace(CONFIG, val_every=7)), 4) == 7


def test_the_average_is_what_is_looked_at(corpus: Corpus, tmp_path: Path) -> None:
    config = replace(VALIDATED, ema=0.4, monitor="")
    pretrain(corpus.folder, config, tmp_path)
    resolved = resolve_run(corpus, config)
    net = build_net(resolved)
    net.load_state_dict(checkpoint.read(tmp_path / "checkpoints" / "step-00000006.pt")["ema"])
    batch = plain_batch(corpus, resolved, VAL)
    with torch.no_grad():
        expected = net.eval().objective(batch, net.counts(batch), 1.0)
    assert records(tmp_path)[6]["val/loss"] == pytest.approx(float(expected.total), rel=1e-5)


def test_a_joint_loss_with_recall_and_a_monitor_of_each_sensor(sensors: Corpus, tmp_path: Path) -> None:
    config = replace(CONTRASTIVE, val_every=3, monitor="ground")
    result = pretrain(sensors.folder, config, tmp_path / "with")
    resolved = resolve_run(sensors, config)
    net = build_net(resolved)
    net.load_state_dict(checkpoint.read(result.checkpoint)["model"])
    with torch.no_grad():
        views = net.eval().represent(plain_batch(sensors, resolved, VAL))
        expected = net.joint(views)
    found = records(tmp_path / "with")[6]
    assert found["val/loss"] == pytest.approx(float(expected.total), rel=1e-5)
    assert {f"val/recall_at_1/{name}" for name in net.loss_names} <= found.keys()
    assert {f"monitor/{name}/knn" for name in ("light", "echo", "ground")} <= found.keys()
    without = pretrain(sensors.folder, replace(CONTRASTIVE, val_every=0), tmp_path / "without")
    assert_same_state(result.checkpoint, without.checkpoint)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mpmae", "contrastive"])
def test_two_processes_find_the_same(corpus: Corpus, sensors: Corpus, tmp_path: Path, method: str) -> None:
    config: PretrainConfig = VALIDATED if method == "mpmae" else replace(CONTRASTIVE, val_every=3, monitor="ground")
    config, folder = replace(config, steps=2), (corpus if method == "mpmae" else sensors).folder
    for processes in (1, 2):
        pretrain(folder, replace(config, processes=processes), tmp_path / str(processes))
    one, two = (records(tmp_path / str(processes)) for processes in (1, 2))
    assert one.keys() == two.keys()
    if method == "mpmae":  # Nor does torch warn of gradients with other strides than their parameters'.
        assert not (tmp_path / "2" / "logs").exists()
    assert all(two[step] == pytest.approx(one[step], rel=2e-3, abs=1e-3) for step in one)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"monitor": "cultre"}, "unknown label 'cultre'; did you mean 'culture'"),
        ({"monitor": "culture", "val_every": 0}, "pretrain.monitor looks at val chips, and pretrain.val_every is 0"),
        ({"monitor": "nothing"}, "'nothing' has no data"),
        ({"leave_out": tuple(VAL.tolist()), "val_every": 3}, "has none that are finished"),
    ],
)
def test_refuses_what_cannot_be_looked_at(corpus: Corpus, tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(Fatal) as refusal:
        pretrain(corpus.folder, replace(CONFIG, **changes), tmp_path / "run")
    assert message in str(refusal.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", ["often", -1, 1.5, True])
def test_refuses_another_rhythm(value: object) -> None:
    with pytest.raises(Fatal, match='pretrain.val_every must be a number of steps, 0 for never, or "auto"'):
        PretrainConfig.from_dict({"val_every": value})
