"""The closing lines of the demo of sensors: where the results are, what the numbers mean, and what to run next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flows.closing import Closing
from flows.fewshot.outputs import PAGE
from flows.sensor_demo.embeddings import EMBEDDINGS, results, run_of
from flows.sensor_demo.labels import FEWSHOT, targets
from flows.sensor_demo.retrieval import Retrieval
from flows.settings import Settings, as_typed
from flows.stages import REPORT, program
from pipeline.corpus import Corpus


@dataclass(frozen=True)
class Made:
    """What the stages of the demo said: requests, training, retrieval, and the tables of few labels."""

    requests: int
    trained: str
    retrieval: Sequence[Retrieval]
    tables: str


def summary(settings: Settings, made: Made) -> str:
    """The closing lines."""
    corpus = Corpus.open(settings.folder)
    text = "\n".join([*_where(corpus, settings, made), *_found(made.retrieval), *_told(made.tables), *_next(settings)])
    facts = made.trained.facts if isinstance(made.trained, Closing) else {}
    return Closing.of(
        text, **facts, chips=len(corpus.manifest), requests=made.requests, report=str(settings.folder / REPORT),
        store=corpus.store.url, run=str(run_of(settings)), embeddings=str(results(settings) / EMBEDDINGS),
        fewshot=str(results(settings) / FEWSHOT / PAGE), retrieval=[item.to_json() for item in made.retrieval],
    )  # fmt: skip


def _where(corpus: Corpus, settings: Settings, made: Made) -> list[str]:
    return [
        "",
        f"A corpus of {len(corpus.manifest)} tiles; this run made {made.requests} requests to Earth Engine:",
        f"  report      {settings.folder / REPORT}    open it in a browser",
        f"  store       {corpus.store.url}    xarray.open_zarr reads it",
        f"  encoders    {run_of(settings)}    one file for each sensor",
        f"  embeddings  {results(settings) / EMBEDDINGS}    GeoPandas and DuckDB read it",
        f"  few labels  {results(settings) / FEWSHOT / PAGE}    tables and plots; open it in a browser",
        f"  training    {made.trained}",
    ]


def _found(retrieval: Sequence[Retrieval]) -> list[str]:
    if not retrieval:
        return []
    return [
        "",
        f"Of {retrieval[0].chips} tiles that were not trained on, how often the nearest view by another sensor is that "
        "of the same",
        f"tile (a guess: {retrieval[0].chance:.1f} %; in brackets 95 % of such samples):",
        *[item.line() for item in retrieval],
        "More than a guess: the encoders see what the sensors have in common.",
    ]


def _told(tables: str) -> list[str]:
    told = ", ".join(item.name for item in targets())
    return [
        "",
        f"How well a few labels tell {told} of other tiles, by a simple model",
        "on the embeddings, beside random weights and plain band statistics, which are strong in so short a demo:",
        "",
        tables,
        "",
        "The planet is made: none of these numbers says anything of the real Earth.",
    ]


def _next(settings: Settings) -> list[str]:
    typed, longer = as_typed(settings.folder), run_of(settings).with_name("longer")
    return [
        "",
        "Next:",
        f"  {program()} pretrain {typed} pretrain.steps=2000 pretrain.run=longer",
        f"  {program()} fewshot {typed} --encoder {run_of(settings)} --encoder {longer} --target {targets()[0].source} "
        f"--without sensors --out {results(settings) / 'longer'}",
        f"  {program()} build sensors source.project=YOUR-PROJECT corpus.folder=mine sampling.locations=100",
    ]
