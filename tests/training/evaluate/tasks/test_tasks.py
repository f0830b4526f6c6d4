"""Every kind of labels: loss and figures as scikit-learn and plain arithmetic have them, refusals, intervals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics

from pipeline.errors import Fatal
from training.evaluate.tasks.kinds import task_from, task_of
from training.evaluate.tasks.multi_label import MultiLabel
from training.evaluate.tasks.regression import Regression
from training.evaluate.tasks.single_label import SingleLabel
from training.evaluate.tasks.tally import figures_of, gap

RANDOM = np.random.default_rng(3)
NAMES = ("a", "b", "c", "d")


def halves(outputs: torch.Tensor, labels: np.ndarray) -> list[tuple[torch.Tensor, np.ndarray]]:
    """Two batches."""
    return [(outputs[:7], labels[:7]), (outputs[7:], labels[7:])]


def test_classes_of_images() -> None:
    labels, outputs = RANDOM.integers(0, 3, 60), torch.from_numpy(RANDOM.normal(size=(60, 4))).float()
    labels[::9] = -1
    figures = SingleLabel(NAMES).tally(halves(outputs, labels)).figures()
    truth, said = labels[labels >= 0], outputs.argmax(1).numpy()[labels >= 0]
    assert figures["accuracy"] == pytest.approx(metrics.accuracy_score(truth, said))
    with pytest.warns(UserWarning, match="not in y_true"):
        assert figures["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, said))
    assert figures["macro_f1"] == pytest.approx(metrics.f1_score(truth, said, average="macro"))
    assert figures["mean_iou"] == pytest.approx(metrics.jaccard_score(truth, said, average="macro"))


def test_classes_of_pixels_without_those_to_ignore() -> None:
    labels, outputs = RANDOM.integers(-1, 4, (9, 5, 6)), torch.from_numpy(RANDOM.normal(size=(9, 4, 5, 6))).float()
    labels[4] = -1
    tally = SingleLabel(NAMES).tally(halves(outputs, labels))
    known, said = labels >= 0, outputs.argmax(1).numpy()
    assert (tally.headline, tally.samples) == ("mean_iou", 8)
    assert tally.mean_iou == pytest.approx(metrics.jaccard_score(labels[known], said[known], average="macro"))
    assert np.array_equal(tally.confusion, metrics.confusion_matrix(labels[known], said[known]))


def test_several_labels_of_an_image() -> None:
    labels, outputs = RANDOM.integers(0, 2, (40, 4)), RANDOM.normal(size=(40, 4)).round(1).astype(np.float32)
    labels[:, 3], outputs[:, 3] = 0, -1.0  # a label that neither occurs nor is predicted
    figures = MultiLabel(NAMES).tally(halves(torch.from_numpy(outputs), labels)).figures()
    said, seen = outputs > 0, slice(0, 3)
    assert figures["micro_f1"] == pytest.approx(metrics.f1_score(labels, said, average="micro"))
    assert figures["macro_f1"] == pytest.approx(metrics.f1_score(labels[:, seen], said[:, seen], average="macro"))
    wanted = metrics.average_precision_score(labels[:, seen], outputs[:, seen], average="macro")
    assert figures["mean_average_precision"] == pytest.approx(wanted)


@pytest.mark.parametrize("shape", [(50, 2), (12, 2, 4, 3)])
def test_numbers_of_images_and_of_pixels(shape: tuple[int, ...]) -> None:
    labels = RANDOM.normal(500, 3, shape)
    task = Regression(("height", "mass")).fitted([labels])
    outputs = torch.from_numpy(RANDOM.normal(size=shape)).float()
    kept = labels.copy()
    kept[3] = np.nan
    figures = task.tally(halves(outputs, kept)).figures()
    truth, said = (np.moveaxis(np.delete(part, 3, 0), 1, -1).reshape(-1, 2) for part in (labels, task.answers(outputs)))
    assert figures["r2"] == pytest.approx(metrics.r2_score(truth, said))
    assert figures["mse"] == pytest.approx(metrics.mean_squared_error(truth, said))
    assert figures["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, said))


def test_resamples_are_scored_as_copies_would_be() -> None:
    labels, outputs = RANDOM.integers(0, 2, (12, 4)), torch.from_numpy(RANDOM.normal(size=(12, 4)).round(1)).float()
    times = RANDOM.integers(0, 4, 12)
    copies = np.repeat(np.arange(12), times)
    numbers = RANDOM.normal(size=(12, 4))
    for task, truth in (
        (MultiLabel(NAMES), labels),
        (SingleLabel(NAMES), labels[:, 0]),
        (Regression(NAMES).fitted([numbers]), numbers),
    ):
        weighted = task.tally([(outputs, truth)]).figures(times)
        assert weighted == pytest.approx(task.tally([(outputs[copies], truth[copies])]).figures(), nan_ok=True)


def test_intervals_hold_the_score_and_differences_are_paired() -> None:
    labels = RANDOM.integers(0, 4, 200)
    good = torch.eye(4)[torch.from_numpy(np.where(RANDOM.random(200) < 0.8, labels, 0))]
    poor = torch.eye(4)[torch.from_numpy(np.where(RANDOM.random(200) < 0.4, labels, 0))]
    first, second = (SingleLabel(NAMES).tally([(item, labels)]) for item in (good, poor))
    figure = figures_of(first)["accuracy"]
    assert figure.interval[0] < figure.value < figure.interval[1] < figure.interval[0] + 0.15
    found = gap(first, second)
    assert found.interval[0] > 0 and found.value == pytest.approx(first.accuracy - second.accuracy)
    assert gap(first, first).interval == (0.0, 0.0)


def test_losses() -> None:
    outputs = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    several = torch.tensor([[1, 0], [0, 1]])
    chances = outputs.sigmoid()
    by_hand = -(several * chances.log() + (1 - several) * (1 - chances).log()).mean()
    assert MultiLabel(("a", "b")).loss(outputs, several, 0.0).item() == pytest.approx(by_hand.item())
    smooth = several * 0.8 + 0.1
    by_hand = -(smooth * chances.log() + (1 - smooth) * (1 - chances).log()).mean()
    assert MultiLabel(("a", "b")).loss(outputs, several, 0.2).item() == pytest.approx(by_hand.item())
    numbers = torch.tensor([[10.0, float("nan")], [12.0, 40.0]])
    task = Regression(("a", "b"), (11.0, 30.0), (2.0, 10.0))
    by_hand = ((1.0 + 0.5) ** 2 + (0.5 - 0.5) ** 2 + (3.0 - 1.0) ** 2) / 3
    assert task.loss(outputs, numbers, 0.2).item() == pytest.approx(by_hand)
    outputs.requires_grad_()
    task.loss(outputs, torch.full((2, 2), float("nan")), 0.0).backward()
    assert not outputs.grad.any()


@pytest.mark.parametrize(
    ("kind", "labels", "message"),
    [
        ("single-label", np.array([0.0, 0.5]), "classes are whole ones"),
        ("single-label", np.array([0, 4]), "between 0 and 3"),
        ("single-label", np.zeros((2, 4), int), "several labels of an image are of kind 'multi-label'"),
        ("single-label", np.array(["a", "b"]), "number the classes"),
        ("multi-label", np.array([[0, 1, 2, 0]]), "must be 0 or 1"),
        ("multi-label", np.array([[0.0, 0.5, 0, 1]]), "must be 0 or 1"),
        ("multi-label", np.array([0, 1]), "(samples, 4) of 0 and 1"),
        ("regression", np.array([True, False]), "labels are bool"),
        ("regression", np.array([1.5, 2.5]), "(samples, 4) numbers"),
        ("regresion", np.array([1.5]), "did you mean 'regression'"),
    ],
)
def test_labels_of_another_kind_are_refused_in_a_sentence(kind: str, labels: np.ndarray, message: str) -> None:
    with pytest.raises(Fatal) as refusal:
        task_of(kind, NAMES).check(labels)
    assert message in str(refusal.value) and str(refusal.value).count(". ") == 0


def test_a_task_is_read_back_and_older_files_are_of_classes() -> None:
    fitted = Regression(NAMES[:1]).fitted([np.array([[1.0], [3.0]])])
    for task in (SingleLabel(NAMES), MultiLabel(NAMES), fitted):
        assert task_from(task.to_dict(), task.names) == task
    assert task_from(None, NAMES) == SingleLabel(NAMES)
    with pytest.raises(Fatal, match="column 'b' has no number"):
        Regression(("a", "b")).fitted([np.array([[1.0, np.nan]])])
