"""Results as files: tables, charts, the draws, and a page."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from exporters.scores.chart import write_chart
from exporters.scores.page import Section, write_page
from exporters.scores.table import write_records
from flows.fewshot import tables
from flows.fewshot.compare import Outcome, Results
from flows.fewshot.target import file_name
from pipeline import durable
from pipeline.corpus import Corpus

PAGE, TEXT, FACTS = "fewshot.html", "fewshot.txt", "fewshot.json"
_RECORDS = {
    "scores": tables.score_records, "labels_needed": tables.needed_records, "regions": tables.transfer_records,
    "areas": tables.area_records, "draws": tables.draw_records,
}  # fmt: skip


def write(results: Results, out: Path) -> str:
    """Publish everything in `out`; returns the headline as text. Raises `Unwritable` where nothing can be written."""
    for name, records in _RECORDS.items():
        write_records(out, name, list(records(results)))
    for outcome in results.outcomes:
        write_chart(out, file_name(outcome.task.name), tables.chart(results, outcome))
    text = headline(results)
    durable.write_text(out / TEXT, f"{text}\n")
    durable.write_json(out / FACTS, _facts(results))
    sections = tuple(_section(results, outcome) for outcome in results.outcomes)
    write_page(out / PAGE, "Few labels", _lead(results), sections, "geocorpus fewshot")
    return text


def headline(results: Results) -> str:
    """A table for each target, as lines of text."""
    return "\n\n".join(tables.headline(results, outcome).text() for outcome in results.outcomes)


def _section(results: Results, outcome: Outcome) -> Section:
    folded = (
        tables.every_head(results, outcome), tables.every_view(results, outcome),
        *tables.matrix(results, outcome), *tables.areas(results, outcome),
    )  # fmt: skip
    return Section(outcome.task.name, "", tables.chart(results, outcome), (tables.headline(results, outcome),), folded)


def _lead(results: Results) -> str:
    plan = results.plan
    return (
        f"Classical models on frozen features, with few labels drawn {plan.draws} times (seed {plan.seed}), the same "
        f"for all that is compared, and tested on the {results.split} chips. Intervals are 95 % of {plan.resamples:,} "
        "resamples of draws and of geographic blocks of test chips. Everything that is tuned is tuned on the draw. "
        f"{results.left_out:,} chips without features of something that is compared were left out."
    )


def _facts(results: Results) -> dict[str, Any]:
    plan = results.plan
    return {
        "version": version("geocorpus"),
        "corpus": Corpus.open(plan.corpus).manifest.digest,
        "encoders": {item.name: item.source for item in plan.encoders},
        "alone": plan.alone,
        "targets": {item.name: item.source for item in plan.targets},
        "without": list(plan.without),
        "regions": plan.regions,
        "draws": plan.draws,
        "seed": plan.seed,
        "resamples": plan.resamples,
        "families": list(plan.families),
        "chips": len(results.rows),
        "left_out": results.left_out,
        "block_deg": results.block_deg,
    }
