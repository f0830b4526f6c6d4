"""From a plan to all scores: chips, features, tasks, draws, comparisons, regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flows.extras import require
from flows.fewshot.competitor import Competitor
from flows.fewshot.competitors import Field, common_rows
from flows.fewshot.encoders import ALONE, Loaded, centre_px, loaded
from flows.fewshot.features import FOLDER, Kept
from flows.fewshot.plan import Plan
from flows.fewshot.regions import regions_of
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.errors import Fatal
from pipeline.progress import Progress

if TYPE_CHECKING:
    from training.evaluate.fewshot.comparison import Comparison, Score, Seen
    from training.evaluate.fewshot.draws import Draw
    from training.evaluate.fewshot.places import Places
    from training.evaluate.fewshot.task import Task
    from training.evaluate.fewshot.transfer import Regions, Transfer
    from training.evaluate.fewshot.trials import Trials

_AREA_SHOTS = (200, 500)
_TRANSFER_SHOTS, _TRANSFER_DRAWS = 500, 5


@dataclass(frozen=True)
class Outcome:
    """What became of one target. `areas` are scores of the first encoder within each region, by its name."""

    task: Task
    places: Places
    draws: tuple[Draw, ...]
    comparison: Comparison
    transfers: tuple[tuple[str, Transfer], ...] = ()
    areas: tuple[tuple[str, Score], ...] = ()


@dataclass(frozen=True)
class Results:
    """All outcomes, over manifest `rows` (chips,) of which everything that is compared has features.

    `split` has the test chips, `block_deg` is the side of their blocks, `whole` are the views that are compared in
    full, the first of which differences are to. `left_out` are chips without features of some competitor.
    """

    plan: Plan
    rows: NDArray[np.int64]
    split: str
    block_deg: float
    whole: tuple[Seen, ...]
    outcomes: tuple[Outcome, ...]
    left_out: int


def few_shot(plan: Plan, out: Path, progress: Progress) -> Results:
    """Compare as the plan says; features are kept in `out`, so that another look is quick.

    Raises `Fatal` without PyTorch, for the folder of a corpus as `out`, and for encoders, targets, regions or a corpus
    that cannot be used.
    """
    require("train", "few-shot evaluation")
    if (out / MANIFEST).exists():
        raise Fatal(f"{out} is the folder of a corpus; give --out a folder of its own, such as {out / 'fewshot'}.")
    corpus = Corpus.open(plan.corpus)
    split = "test" if len(corpus.manifest.rows_of("test")) else "val"
    rows = np.sort(np.concatenate([_rows(corpus, name, plan.most_chips) for name in ("train", split)]))
    encoders = loaded(plan)
    image_px = centre_px(encoders, corpus)
    tasks = [_noted(target.task(corpus, rows, image_px), target.source, encoders) for target in plan.targets]
    regions = regions_of(corpus, plan.regions, rows) if plan.regions else None
    _refuse_hopeless(tasks, corpus.manifest.column("split")[rows] == "train", plan)
    _say_of_steps(encoders, progress)
    competitors = list(Field(corpus, rows, image_px, Kept(out / FOLDER), progress).competitors(plan, encoders))
    return _compared(plan, corpus, rows, split, tasks, regions, competitors, progress)


def _rows(corpus: Corpus, split: str, most: int | None) -> NDArray[np.int64]:
    rows = corpus.manifest.rows_of(split)[:most]
    if not len(rows):
        raise Fatal(f"the corpus in {corpus.folder} has no {split} chips; change its split.")
    return rows


def _noted(task: Task, source: str, encoders: Sequence[Loaded]) -> Task:
    """With a sentence about the encoders that have seen the target's layer, if any."""
    from dataclasses import replace

    layer = source.partition(":")[0]
    seen = [item.name for item in encoders if layer in item.layers]
    return replace(task, note=f"{', '.join(seen)}: has seen {layer} in training.") if seen else task


def _refuse_hopeless(tasks: Sequence[Task], train: NDArray[np.bool_], plan: Plan) -> None:
    """Raise `Fatal` for labels that all chips are too few for, before any encoder looks at them."""
    from training.evaluate.fewshot.draws import draws_of

    for task in tasks:
        draws_of(task, np.flatnonzero(train), plan.shots, 1, plan.seed)


def _say_of_steps(encoders: Sequence[Loaded], progress: Progress) -> None:
    first, steps = encoders[0], {item.name: item.steps for item in encoders}
    if ALONE in steps and steps[ALONE] != first.steps:
        progress.say(f"The encoder of one sensor was trained for {steps[ALONE]} steps, {first.name} for {first.steps}.")


def _compared(
    plan: Plan, corpus: Corpus, rows: NDArray[np.int64], split: str, tasks: Sequence[Task], regions: Regions | None,
    competitors: Sequence[Competitor], progress: Progress,
) -> Results:  # fmt: skip
    from training.evaluate.fewshot.comparison import Seen
    from training.evaluate.fewshot.places import Places, blocks_of
    from training.evaluate.fewshot.transfer import Regions

    common = np.flatnonzero(common_rows(competitors))
    splits = corpus.manifest.column("split")[rows[common]]
    train, test = np.flatnonzero(splits == "train"), np.flatnonzero(splits == split)
    if not len(train) or not len(test):
        raise Fatal("of the chips with features of everything that is compared none is left in train or test.")
    lonlat = np.column_stack([corpus.manifest.column(name)[rows[common]] for name in ("lon", "lat")]).astype(np.float64)
    blocks, block_deg = blocks_of(lonlat[test])
    places = Places(train, test, blocks)
    at_hand = [Competitor(item.encoder, item.view, item.features[common], item.whole) for item in competitors]
    inside = Regions(regions.names, regions.index[common]) if regions else None
    rounds = [_Round(plan, task.of(common), places, at_hand, inside, lonlat, progress) for task in tasks]
    whole = tuple(Seen(item.encoder, item.view) for item in at_hand if item.whole)
    return Results(
        plan, rows[common], split, block_deg, whole, tuple(item.outcome() for item in rounds), len(rows) - len(common)
    )


@dataclass(frozen=True)
class _Round:
    """One target for all competitors."""

    plan: Plan
    task: Task
    places: Places
    competitors: Sequence[Competitor]
    regions: Regions | None
    lonlat: NDArray[np.float64]
    progress: Progress

    def outcome(self) -> Outcome:
        from training.evaluate.fewshot.draws import draws_of

        known = self.places.among(self.task.known, self.task.known)
        if len(known.test) < 2:
            raise Fatal(
                f"{len(known.test)} test chips have a label of {self.task.name}, and a score needs two; choose another "
                "target, or a corpus with more."
            )
        if known.few:
            self.progress.say(f"{self.task.name}: {known.few.strip()}")
        draws = draws_of(self.task, known.train, self.plan.shots, self.plan.draws, self.plan.seed)
        self.progress.start(f"labels: {self.task.name}", len(draws) * len(self.competitors))
        comparison = self._comparison(known, draws, self.competitors)
        return Outcome(self.task, known, tuple(draws), comparison, tuple(self._transfers()), tuple(self._areas(known)))

    def _comparison(self, places: Places, draws: Sequence[Draw], of: Sequence[Competitor]) -> Comparison:
        from training.evaluate.fewshot.comparison import Seen, compared

        trials = {Seen(item.encoder, item.view): self._trials(places, draws, item) for item in of}
        return compared(self.task, trials, self.plan.resamples, self.plan.seed)

    def _trials(self, places: Places, draws: Sequence[Draw], item: Competitor) -> Trials:
        from training.evaluate.fewshot.trials import trials_of

        families = self.plan.families if item.whole else self.plan.families_of_parts
        return trials_of(self.task, item.features, places, draws, families, self.plan.seed, self.progress.advance)

    def _transfers(self) -> list[tuple[str, Transfer]]:
        from training.evaluate.fewshot.transfer import Drawn, transfers

        if self.regions is None:
            return []
        whole = [item for item in self.competitors if item.whole]
        self.progress.start(f"regions: {self.task.name}", len(whole))
        found, plan = [], self.plan
        how = Drawn(_TRANSFER_SHOTS, _TRANSFER_DRAWS, plan.seed, plan.families_of_parts[-1])
        for item in whole:
            moved = transfers(self.task, item.features, self.places, self.regions, how)
            found += [(item.encoder, each) for each in moved]
            self.progress.advance()
        return found

    def _areas(self, known: Places) -> list[tuple[str, Score]]:
        """Scores of the views of the first encoder, and of the others whole, with labels and tests of each region."""
        from training.evaluate.fewshot.places import Places, blocks_of
        from training.evaluate.fewshot.transfer import FEWEST_LABELS, FEWEST_TESTS

        if self.regions is None:
            return []
        first = self.competitors[0].encoder
        shown = [item for item in self.competitors if item.whole or item.encoder == first]
        found = []
        for number, region in enumerate(self.regions.names):
            inside = self.regions.rows(number)
            places = known.among(inside, inside)
            if len(places.train) >= FEWEST_LABELS and len(places.test) >= FEWEST_TESTS:
                own = Places(places.train, places.test, blocks_of(self.lonlat[places.test])[0])
                found += [(region, item) for item in self._of_area(region, own, shown)]
        return found

    def _of_area(self, region: str, places: Places, shown: Sequence[Competitor]) -> list[Score]:
        from dataclasses import replace

        from training.evaluate.fewshot.draws import draws_of

        if self.task.classes and len(np.unique(self.task.values[places.train])) < 2:
            return []
        named = replace(self.task, name=f"{self.task.name}|{region}")
        draws = draws_of(named, places.train, _AREA_SHOTS, _TRANSFER_DRAWS, self.plan.seed)
        here = replace(self, plan=replace(self.plan, families=self.plan.families_of_parts[-1:]))
        return list(here._comparison(places, draws, shown).scores)
