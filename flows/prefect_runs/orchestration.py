"""The stages as Prefect flows: one task per stage and per shard. Without the decorators they still work."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any

import httpx
from prefect import Task, flow, task
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_API_URL

from exporters.earth_engine.client import EarthEngine
from flows import commands, stages
from flows.offline import api_configured
from flows.prefect_runs import configured_server, prefect_server
from flows.prefect_runs.artifacts import shown
from flows.prefect_runs.run_outcome import record_outcome
from flows.sensor_demo.embeddings import embedded
from flows.sensor_demo.labels import compared
from flows.sensor_demo.retrieval import retrievals
from flows.sensor_demo.summary import Made, summary
from flows.settings import Settings, of_parameters
from pipeline.errors import Fatal, Transient
from pipeline.lock import locked
from pipeline.progress import Progress


@contextmanager
def api() -> Iterator[str]:
    """The URL of a Prefect API: the configured one, or that of a local server that ends with this process.

    Raises `Fatal` when the configured API does not answer or the local server does not start, and `Transient` at the
    end when the server was lost in between.
    """
    if api_configured():
        configured_server.refuse_unusable()
        with _server_loss_as_transient():
            yield str(PREFECT_API_URL.value())
        return
    print("starting a local Prefect server ...", file=sys.stderr, flush=True)
    with prefect_server.running() as server, server.reached(), _server_loss_as_transient():
        yield server.url


@contextmanager
def _server_loss_as_transient() -> Iterator[None]:
    """Raise `Transient` when the server is lost. Its history of the run is lost then, but none of the work."""
    try:
        yield
    except httpx.TransportError as error:
        raise Transient(
            "the Prefect server is gone, and what was done is in the ledger all the same; "
            "start it, or unset PREFECT_API_URL, and run the same command again."
        ) from error


def _worth_retrying(_task: Task[..., Any], _run: Any, state: Any) -> bool:
    return isinstance(state.result(raise_on_failure=False), Transient)


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=30, retry_condition_fn=_worth_retrying)
def step(work: Callable[[], Any]) -> Any:
    """Any piece of work as a task run. The ledger records what is done, so Prefect caches nothing."""
    return work()


def _named(name: str) -> Any:
    return step.with_options(name=name, task_run_name=name)


def _export_by_shard(settings: Settings, engine: EarthEngine, progress: Progress) -> str:
    """One task run per unfinished shard, as many at once as the export works on."""
    context = copy_context()  # the flow run's, because the export calls `run` from its own threads

    def run(name: str, call: Callable[[], Any]) -> Any:
        return context.copy().run(_named(name), call)

    return stages.export(settings, engine, progress, run)


def _build(settings: Settings, engine: EarthEngine, progress: Progress) -> str:
    stages.store_of(settings).check()  # now, and not hours later when the first shard is written
    _named("sample")(partial(stages.sample, settings, engine, progress))
    _named("anchor")(partial(stages.anchor, settings, engine, progress))
    _export_by_shard(settings, engine, progress)
    return str(_named("finalize")(partial(stages.finalize, settings, progress)))


@contextmanager
def _at_work(settings: Settings, progress: Progress) -> Iterator[EarthEngine]:
    """Hold the corpus, with a connection to Earth Engine."""
    with locked(settings.folder, progress.say), stages.earth_engine(settings) as engine:
        yield engine


def _checked(settings: dict[str, Any], working_folder: str | None, stage: str) -> Settings:
    """The settings, checked against the corpus folder, which may have changed since they were deployed.

    Relative paths in them start at `working_folder`.
    """
    if working_folder is not None:
        _enter(working_folder)
    parsed = of_parameters(settings)
    stages.check(parsed, stage)
    return parsed


def _enter(working_folder: str) -> None:
    try:
        os.chdir(working_folder)
    except OSError as error:
        raise Fatal(
            f"the folder {working_folder}, in which `geocorpus deploy` was typed, cannot be entered here "
            f"({error.strerror}); deploy again from a folder that the worker has, too."
        ) from error


@flow(name="geocorpus build")
@record_outcome
def build(settings: dict[str, Any], as_json: bool = False, working_folder: str | None = None) -> str:
    """Sample, anchor, export and finalize."""
    parsed = _checked(settings, working_folder, "build")
    with (
        shown(as_json, parsed.folder) as progress,
        locked(parsed.folder, progress.say),
        stages.earth_engine(parsed) as engine,
    ):
        return _build(parsed, engine, progress)


def _built_and_trained(settings: Settings, progress: Progress) -> tuple[int, str]:
    """Requests that a small corpus cost, and the closing line of the training on it."""
    with _at_work(settings, progress) as engine:
        _build(settings, engine, progress)
        requests = engine.figures().requests
    return requests, _named("pretrain")(partial(stages.pretrain, settings, progress))


@flow(name="geocorpus demo")
@record_outcome
def demo(settings: dict[str, Any], as_json: bool = False) -> str:
    """Build a small corpus and train on it."""
    parsed = of_parameters(settings)
    with shown(as_json, parsed.folder) as progress:
        requests, trained = _built_and_trained(parsed, progress)
    return stages.summary(parsed, requests, trained)


@flow(name="geocorpus demo sensors")
@record_outcome
def demo_sensors(settings: dict[str, Any], as_json: bool = False) -> str:
    """Build a small corpus of tiles, train an encoder for each of its sensors, and see what they are good for."""
    parsed = of_parameters(settings)
    with shown(as_json, parsed.folder) as progress:
        requests, trained = _built_and_trained(parsed, progress)
        found = _named("retrieval")(partial(retrievals, parsed, progress))
        _named("embed")(partial(embedded, parsed, progress))
        tables = _named("fewshot")(partial(compared, parsed, progress))
    return summary(parsed, Made(requests, trained, found, tables))


@flow(name="geocorpus export")
@record_outcome
def export(settings: dict[str, Any], as_json: bool = False, working_folder: str | None = None) -> str:
    """Pull the shards and layers that have no ledger entry."""
    parsed = _checked(settings, working_folder, "export")
    with (
        shown(as_json, parsed.folder) as progress,
        locked(parsed.folder, progress.say),
        stages.earth_engine(parsed) as engine,
    ):
        return _export_by_shard(parsed, engine, progress)


def _single(name: str) -> Callable[[dict[str, Any], bool], str]:
    @flow(name=f"geocorpus {name}")
    @record_outcome
    def single(settings: dict[str, Any], as_json: bool = False) -> str:
        parsed = of_parameters(settings)
        with shown(as_json, parsed.folder) as progress:
            closing: str = _named(name)(partial(commands.STAGES[name], parsed, progress))
            return closing

    return single


FLOWS: dict[str, Callable[[dict[str, Any], bool], str]] = {
    "build": build,
    "demo": demo,
    "demo-sensors": demo_sensors,
    "export": export,
    **{name: _single(name) for name in ("sample", "anchor", "finalize", "pretrain", "finetune")},
}
