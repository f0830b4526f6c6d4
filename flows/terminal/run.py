"""How a stage is run: directly in this process, or as a Prefect flow run; and its closing lines."""

from __future__ import annotations

import json
import os
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from flows import access, closing, commands, file_source, growth, sampling_plan, stages
from flows.prefect_runs.run_outcome import RunOutcome, current
from flows.progress.progress_file import live
from flows.settings import Settings
from pipeline.errors import Fatal
from pipeline.progress import Silent
from pipeline.stopping import keeping_nothing
from sampling.allocation import table


def at_once(name: str, settings: Settings, as_json: bool) -> None:
    """Call the stage's function in this process and print its closing lines."""
    stages.check(settings, name)
    if not _is_rank_zero():
        commands.STAGES[name](settings, Silent())
        return
    with live(as_json, settings.folder) as progress:
        message = commands.STAGES[name](settings, progress)
    say(message, settings, as_json)


def _is_rank_zero() -> bool:
    """Whether this process prints: `torchrun` starts several, and sets RANK for each."""
    return os.environ.get("RANK", "0") == "0"


def as_flow(name: str, settings: Settings, as_json: bool) -> None:
    """Run the stage as a Prefect flow, on the configured API or on a local server that ends with the run."""
    if not _is_rank_zero():
        at_once(name, settings, as_json)
        return
    stages.check(settings, name)
    access.check(name, settings)
    outcome = RunOutcome()
    try:
        _flow_run(name, settings, as_json, outcome)
    except Exception as error:
        outcome.failed(error)
        if outcome.message is None:
            outcome.reported = True  # by the command line, which catches the error
            raise
    outcome.reported = True
    say(outcome.message or "", settings, as_json)


def _flow_run(name: str, settings: Settings, as_json: bool, outcome: RunOutcome) -> None:
    """Run the flow. It returns or raises when Prefect has finished, which may be long after the work has ended."""
    from flows.prefect_runs import orchestration

    with orchestration.api() as url:
        outcome.watch(url, partial(_leave, settings=settings, as_json=as_json))
        token = current.set(outcome)
        try:
            orchestration.FLOWS[name](settings.parameters(), as_json)
        finally:
            current.reset(token)


def _leave(outcome: RunOutcome, settings: Settings, as_json: bool) -> None:
    """End this process while Prefect still waits for a lost server; the ledger has recorded all finished work."""
    if not outcome.reported:
        print("the Prefect server is gone: what it keeps of this run is not complete.", file=sys.stderr)
        if outcome.error is None:
            say(outcome.message or "", settings, as_json)
        else:
            print(f"geocorpus: {outcome.error}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if outcome.error is None else 2 if isinstance(outcome.error, Fatal) else 1)


@keeping_nothing()
def dry(settings: Settings, as_json: bool) -> None:
    """Check and estimate an export, and print the estimate; it takes no lock, as it writes nothing."""
    stages.check(settings, "export")
    if not settings.samples_places:
        say(file_source.outlook(settings, Silent()), settings, as_json)
        return
    with stages.earth_engine(settings) as engine:
        say(stages.dry_run(settings, engine), settings, as_json)


def say(message: str, settings: Settings, as_json: bool) -> None:
    """Print the closing lines: where the results are, and what to run next."""
    print(json.dumps(closing.as_json(message, str(settings.folder))) if as_json else message)


@keeping_nothing()
def print_allocation(settings: Settings, as_json: bool) -> None:
    """Print the allocation table, or what files would give; nothing is written."""
    if not settings.samples_places:
        dry(settings, as_json)
        return
    connected = stages.earth_engine(settings) if sampling_plan.needs_engine(settings) else nullcontext(None)
    with connected as engine, TemporaryDirectory() as folder:
        regions = sampling_plan.regions(settings, engine, Path(folder) / stages.REGION_CACHE)
        allocation = sampling_plan.allocation(settings, regions, growth.ground(settings))
    print(json.dumps(allocation.to_json()) if as_json else table(allocation))
