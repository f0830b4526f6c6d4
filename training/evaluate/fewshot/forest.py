"""Random forests (scikit-learn), the size of their leaves chosen by the samples that each tree has not seen."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from training.evaluate.fewshot.scaled import Floats
from training.evaluate.fewshot.task import Task

TREES = 100
LEAVES = (1, 5)


def forest(train_x: Floats, train_y: NDArray[Any], test_x: Floats, task: Task, seed: int = 0) -> Mapping[str, Any]:
    """Predictions (tests,) of the head "forest": 100 trees that look at the root of the number of features."""
    kind = RandomForestClassifier if task.classes else RandomForestRegressor
    best: Any = None
    for leaf in LEAVES:
        model = kind(TREES, min_samples_leaf=leaf, max_features="sqrt", oob_score=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of few samples, each of which some trees have not left out.
            model.fit(train_x, train_y)
        best = model if best is None or model.oob_score_ > best.oob_score_ else best
    return {"forest": best.predict(test_x)}
