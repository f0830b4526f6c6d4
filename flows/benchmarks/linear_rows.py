"""Beside a fine-tuned model: linear models on the same split, of the bands alone and of the frozen encoder."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pipeline.errors import Fatal
from pipeline.progress import Progress

if TYPE_CHECKING:
    from training.evaluate.recipe import Recipe
    from training.evaluate.sample_source import SampleSource
    from training.evaluate.tasks.tally import Tally
    from training.weights.pretrained import Pretrained

BANDS, FROZEN = "linear, of band statistics", "linear, of this encoder, frozen"


def linear_rows(
    pretrained: Pretrained, train: SampleSource, test: SampleSource, recipe: Recipe, progress: Progress
) -> Mapping[str, Tally]:
    """Tallies of the test images by name, of linear models that were fitted to the train images.

    None, and a sentence, without scikit-learn, and where no linear model can be fitted to these labels.
    """
    if find_spec("sklearn") is None:
        progress.say("without scikit-learn, no linear models stand beside the fine-tuned one.")
        return {}
    from training.evaluate import probed
    from training.evaluate.tasks.task_probe import Probing

    probing = Probing(recipe.fit, seed=recipe.seed, kinds=(probed.BANDS, probed.THIS))
    try:
        found = probing.divided(pretrained, train, test).tallies
    except Fatal as error:
        progress.say(f"no linear models stand beside the fine-tuned one: {error}")
        return {}
    return {BANDS: found[probed.BANDS], FROZEN: found[probed.THIS]}


def beside(rows: Mapping[str, Tally]) -> str:
    """A line about the rows, empty without any."""
    figures = [f"{name}: {tally.figures()[tally.headline]:.3f}" for name, tally in rows.items()]
    headline = next(iter(rows.values())).headline.replace("_", " ") if rows else ""
    return f"\n  {headline} beside it: {'; '.join(figures)}." if rows else ""
