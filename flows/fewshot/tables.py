"""Results as tables for a reader, and as records for a machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from exporters.scores.chart import Chart, Line
from exporters.scores.table import Table
from flows.fewshot.compare import Outcome, Results

if TYPE_CHECKING:
    from training.evaluate.fewshot.comparison import Score, Seen
    from training.evaluate.fewshot.resamples import Estimate

_MIDDLE_SHOTS = 200
_NONE = "–"
Record = dict[str, Any]


def headline(results: Results, outcome: Outcome) -> Table:
    """Labels needed, the full-label score, and the score with few labels beside the first: a linear model's."""
    from training.evaluate.fewshot.comparison import measures_of
    from training.evaluate.fewshot.heads import linear_head

    head, measure = _linear(outcome, linear_head(outcome.task)), next(iter(measures_of(outcome.task)))
    few = _few(outcome)
    needed = {item.seen: item for item in outcome.comparison.needed if item.head == head}
    scores = {(item.seen, item.shots): item for item in outcome.comparison.scores
              if (item.head, item.measure) == (head, measure)}  # fmt: skip
    every = outcome.draws[-1].shots
    rows = []
    for seen in results.whole:
        item = needed[seen]
        labels = f"{'≤ ' if item.bounded else ''}{_labels(item.labels)}"
        middle, full = scores[seen, few], scores[seen, every]
        gap = _NONE if seen == results.whole[0] else _signed(middle.gap)
        rows.append((_title(seen), labels, _score(full.estimate), _score(middle.estimate), gap))
    columns = ("", "labels for 95 %", f"{measure}, all {every:,}", f"{measure}, {few:,}", "over the first")
    notes = f"{outcome.places.few}{_flat(outcome)}{outcome.task.note}"
    note = f"{head}; in brackets 95 % of resamples of draws and blocks. {notes}".strip()
    return Table(_about(results, outcome), columns, tuple(rows), note)


def _flat(outcome: Outcome) -> str:
    truth = outcome.task.values[outcome.places.test]
    same = not outcome.task.classes and truth.min() == truth.max()
    return f"All of these test chips have the value {truth[0]:g}, so there is no R2. " if same else ""


def _linear(outcome: Outcome, head: str) -> str:
    """The linear head, or where there is none the first."""
    heads = [item.head for item in outcome.comparison.needed]
    return head if head in heads else heads[0]


def _few(outcome: Outcome) -> int:
    """The number of labels that stands beside all of them."""
    shots = sorted({draw.shots for draw in outcome.draws})
    return max([count for count in shots[:-1] if count <= _MIDDLE_SHOTS], default=shots[0])


def _about(results: Results, outcome: Outcome) -> str:
    places = outcome.places
    return (
        f"{outcome.task.name}: {len(places.test):,} {results.split} chips in {places.block_count} blocks of "
        f"{results.block_deg:g} degrees, labels from {len(places.train):,} train chips"
    )


def every_head(results: Results, outcome: Outcome) -> Table:
    """The first measure of every model and whole view, at every number of labels."""
    from training.evaluate.fewshot.comparison import measures_of

    measure = next(iter(measures_of(outcome.task)))
    shots = sorted({draw.shots for draw in outcome.draws})
    lines: dict[tuple[Seen, str], dict[int, Score]] = {}
    for item in outcome.comparison.scores:
        if item.measure == measure and item.seen in results.whole:
            lines.setdefault((item.seen, item.head), {})[item.shots] = item
    rows = tuple(
        (f"{_title(seen)}, {head}", *(_score(cells[count].estimate) for count in shots))
        for (seen, head), cells in lines.items()
    )
    return Table(f"Every model, {measure}", ("labels", *(f"{count:,}" for count in shots)), rows)


def every_view(results: Results, outcome: Outcome) -> Table:
    """Sensors alone, all of them, and without some: a linear model, few labels and all, and over the first."""
    from training.evaluate.fewshot.comparison import measures_of
    from training.evaluate.fewshot.heads import linear_head

    head, measure = _linear(outcome, linear_head(outcome.task)), next(iter(measures_of(outcome.task)))
    few, every = _few(outcome), outcome.draws[-1].shots
    cells = {(item.seen, item.shots): item for item in outcome.comparison.scores
             if (item.head, item.measure) == (head, measure)}  # fmt: skip
    rows = tuple(
        (_title(seen, view=True), _score(cells[seen, few].estimate), _score(cells[seen, every].estimate),
         _signed(cells[seen, every].gap))
        for seen in dict.fromkeys(seen for seen, _ in cells)
    )  # fmt: skip
    head_line = ("", f"{measure}, {few:,}", f"{measure}, all {every:,}", "all, over the first")
    return Table(f"Sensors, {measure} of {head}", head_line, rows)


def matrix(results: Results, outcome: Outcome) -> list[Table]:
    """For each whole view, the scores from region to region."""
    tables = []
    for encoder in dict.fromkeys(name for name, _ in outcome.transfers):
        found = [item for name, item in outcome.transfers if name == encoder]
        tested = list(dict.fromkeys(item.tested for item in found))
        cells = {(item.trained, item.tested): item for item in found}
        rows = tuple(
            (f"labels of {trained}", *(_score(cells[trained, each].estimate) for each in tested))
            for trained in dict.fromkeys(item.trained for item in found)
        )
        tables.append(Table(f"From region to region, {found[0].measure}: {encoder}", ("tested in", *tested), rows))
    return tables


def areas(results: Results, outcome: Outcome) -> list[Table]:
    """For each region, the scores of every sensor with labels of that region: few, and all."""
    measure = outcome.comparison.needed[0].measure
    found = [(region, item) for region, item in outcome.areas if item.measure == measure]
    tables = []
    for region in dict.fromkeys(region for region, _ in found):
        scores = [item for name, item in found if name == region]
        shots = sorted({item.shots for item in scores})
        cells = {(item.seen, item.shots): item for item in scores}
        rows = tuple(
            (_title(seen, view=True), *(_score(cells[seen, count].estimate) for count in shots))
            for seen in dict.fromkeys(item.seen for item in scores)
        )
        head = ("labels", *(f"{count:,}" for count in shots))
        tables.append(Table(f"Within {region}, {measure}", head, rows))
    return tables


def chart(results: Results, outcome: Outcome) -> Chart:
    """The first measure of a linear model over the number of labels, a line for each whole view."""
    from training.evaluate.fewshot.comparison import curve, measures_of
    from training.evaluate.fewshot.heads import linear_head

    head, measure = _linear(outcome, linear_head(outcome.task)), next(iter(measures_of(outcome.task)))
    lines = []
    for seen in results.whole:
        points = curve(outcome.comparison.scores, seen, head, measure)
        estimates = [item.estimate for item in points]
        lines.append(Line(
            seen.encoder, tuple(item.shots for item in points), tuple(item.mean for item in estimates),
            tuple(item.low for item in estimates), tuple(item.high for item in estimates),
        ))  # fmt: skip
    return Chart(outcome.task.name, f"{measure} ({head})", tuple(lines))


def score_records(results: Results) -> Iterator[Record]:
    """One for each score."""
    for outcome in results.outcomes:
        for item in outcome.comparison.scores:
            yield _record(item)


def _record(item: Score) -> Record:
    gap = {f"over_first_{name}": value for name, value in asdict(item.gap).items()}
    return {
        "task": item.task, "encoder": item.seen.encoder, "view": item.seen.view, "head": item.head,
        "labels": item.shots, "draws": item.draws, "measure": item.measure, **asdict(item.estimate), **gap,
    }  # fmt: skip


def needed_records(results: Results) -> Iterator[Record]:
    """One for each curve: the labels for 95 % of the full-label score."""
    for item in (item for outcome in results.outcomes for item in outcome.comparison.needed):
        labels = {f"labels_{name}": value for name, value in asdict(item.labels).items()}
        yield {"task": item.task, "encoder": item.seen.encoder, "view": item.seen.view, "head": item.head,
               "measure": item.measure, "full": item.full, **labels, "at_most": item.bounded}  # fmt: skip


def transfer_records(results: Results) -> Iterator[Record]:
    """One for each pair of regions and whole view."""
    for encoder, item in (pair for outcome in results.outcomes for pair in outcome.transfers):
        yield {
            "task": item.task, "encoder": encoder, "labels_of": item.trained, "tested_in": item.tested,
            "labels": item.labels, "tests": item.tests, "measure": item.measure, **asdict(item.estimate),
        }  # fmt: skip


def area_records(results: Results) -> Iterator[Record]:
    """One for each area, task, sensor and number of labels."""
    for outcome in results.outcomes:
        for region, item in outcome.areas:
            yield {"area": region, **_record(item), "task": outcome.task.name}


def draw_records(results: Results) -> Iterator[Record]:
    """One for each draw, with the manifest rows whose labels it has."""
    for outcome in results.outcomes:
        for item in outcome.draws:
            yield {"task": outcome.task.name, "labels": item.shots, "draw": item.number,
                   "rows": results.rows[item.rows].tolist()}  # fmt: skip


def _title(seen: Seen, view: bool = False) -> str:
    return f"{seen.encoder}: {seen.view}" if view else seen.encoder


def _score(item: Estimate) -> str:
    return _NONE if item.mean != item.mean else f"{item.mean:.3f} [{item.low:.3f}, {item.high:.3f}]"


def _signed(item: Estimate) -> str:
    return _NONE if item.mean != item.mean else f"{item.mean:+.3f} [{item.low:+.3f}, {item.high:+.3f}]"


def _labels(item: Estimate) -> str:
    return _NONE if item.mean != item.mean else f"{item.mean:,.0f} [{item.low:,.0f}, {item.high:,.0f}]"
