"""How a stage is run: at once in this process, or as a Prefect flow run; and what is said at the end."""

from __future__ import annotations

import json
import os
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from flows import commands, sampling_plan, stages
from flows.prefect_runs.run_outcome import RunOutcome, current
from flows.progress.progress_file import live
from flows.settings import Settings
from pipeline.errors import Fatal
from pipeline.progress import Silent
from sampling.allocation import table


def at_once(name: str, settings: Settings, as_json: bool) -> None:
    """Call the stage's function in this process and print what came of it."""
    stages.check(settings)
    if not _speaks():
        commands.STAGES[name](settings, Silent())
        return
    with live(as_json, settings.folder) as progress:
        said = commands.STAGES[name](settings, progress)
    say(said, settings, as_json)


def _speaks() -> bool:
    """Whether this process is the one to report: `torchrun` starts several, and tells each its rank."""
    return os.environ.get("RANK", "0") == "0"


def as_flow(name: str, settings: Settings, as_json: bool) -> None:
    """The same as a Prefect flow run, on the configured API or on a server that lives as long as the run."""
    if not _speaks():
        at_once(name, settings, as_json)
        return
    stages.check(settings)
    outcome = RunOutcome()
    try:
        _flow_run(name, settings, as_json, outcome)
    except Exception as error:
        outcome.failed(error)
        if outcome.said is None:
            outcome.told = True  # by whoever catches it
            raise
    outcome.told = True
    say(str(outcome.said), settings, as_json)


def _flow_run(name: str, settings: Settings, as_json: bool, outcome: RunOutcome) -> None:
    """Run the flow; returns or raises when Prefect is through with it, which may be long after the work has ended."""
    from flows.prefect_runs import orchestration

    with orchestration.api() as url:
        outcome.watch(url, partial(_leave, settings=settings, as_json=as_json))
        token = current.set(outcome)
        try:
            orchestration.FLOWS[name](settings.model_dump(mode="json"), as_json)
        finally:
            current.reset(token)


def _leave(outcome: RunOutcome, settings: Settings, as_json: bool) -> None:
    """End this process while Prefect waits for a server that is gone; the ledger has what matters."""
    if not outcome.told:
        print("the Prefect server is gone: what it keeps of this run is not complete.", file=sys.stderr)
        if outcome.error is None:
            say(str(outcome.said), settings, as_json)
        else:
            print(f"geocorpus: {outcome.error}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if outcome.error is None else 2 if isinstance(outcome.error, Fatal) else 1)


def dry(settings: Settings, as_json: bool) -> None:
    """Check and estimate an export, and print it; no lock, for nothing is written."""
    stages.check(settings)
    with stages.earth_engine(settings) as engine:
        say(stages.dry_run(settings, engine), settings, as_json)


def say(said: str, settings: Settings, as_json: bool) -> None:
    """The closing lines: what is where, and what to run next."""
    print(json.dumps({"folder": str(settings.folder), "done": said}) if as_json else said)


def print_allocation(settings: Settings, as_json: bool) -> None:
    """The allocation table alone; nothing is written."""
    connected = stages.earth_engine(settings) if sampling_plan.needs_engine(settings) else nullcontext(None)
    with connected as engine, TemporaryDirectory() as folder:
        regions = sampling_plan.regions(settings, engine, Path(folder) / stages.REGION_CACHE)
        allocation = sampling_plan.allocation(settings, regions)
    print(json.dumps(allocation.to_json()) if as_json else table(allocation))
