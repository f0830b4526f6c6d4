"""A flow run's progress as Prefect artifacts: how far each stage is, and a table of its figures."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from uuid import UUID

from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate

from flows.progress.progress_file import ProgressFile, derived, live
from pipeline.progress import Figure, Progress, Snapshot

EVERY_S = 30.0  # a server keeps every update, and nobody looks more often
_LAST_WORD_S = 5.0
Row = dict[str, str]


class Artifacts:
    """Tells a Prefect server now and then where a run stands; use as a context manager inside a flow run.

    It tells from a thread of its own: a server that is slow or gone costs the work nothing.
    """

    def __init__(self, snapshot: Callable[[], Snapshot], progress: Progress, every_s: float = EVERY_S) -> None:
        self._snapshot, self._progress, self._every_s = snapshot, progress, every_s
        self._made: dict[str, tuple[UUID, UUID]] = {}
        self._over = threading.Event()
        # The context holds the flow run that the artifacts belong to.
        self._teller = threading.Thread(target=copy_context().run, args=(self._tell_on,), daemon=True)

    def __enter__(self) -> Artifacts:
        self._teller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._teller.join(timeout=_LAST_WORD_S)

    def _tell_on(self) -> None:
        while not self._over.wait(self._every_s):
            if not self._told():
                return
        self._told()

    def _told(self) -> bool:
        """Tell the server; False, and said once, when it does not listen."""
        snapshot = self._snapshot()
        try:
            if snapshot.stage:
                self._tell(snapshot)
        except Exception as error:  # whatever Prefect raises, the work goes on and its ledger remembers
            self._progress.say(f"the Prefect server takes no artifacts ({type(error).__name__}); the work goes on.")
            return False
        return True

    def _tell(self, snapshot: Snapshot) -> None:
        percent = 100.0 * snapshot.done / max(1, snapshot.total)
        if snapshot.stage not in self._made:
            self._made[snapshot.stage] = _made(snapshot, percent)
            return
        bar, table = self._made[snapshot.stage]
        update_progress_artifact(bar, percent)
        with get_client(sync_client=True) as client:
            client.update_artifact(table, ArtifactUpdate(data=json.dumps(rows(snapshot))))


def _made(snapshot: Snapshot, percent: float) -> tuple[UUID, UUID]:
    """The two artifacts of a stage, under keys that a deployment's runs share: the newest run's are shown."""
    key = f"geocorpus-{snapshot.stage}"
    bar = create_progress_artifact(percent, key, f"How much of {snapshot.stage} is done.")
    table = create_table_artifact(rows(snapshot), f"{key}-figures", f"Figures of {snapshot.stage}.")
    return bar, table  # type: ignore[return-value]


def rows(snapshot: Snapshot) -> list[Row]:
    """A line per figure."""
    done: dict[str, Figure] = {"done": f"{snapshot.done:,} of {snapshot.total:,}"}
    return [
        {"figure": name.replace("_", " "), "value": f"{value}"}
        for name, value in (done | snapshot.figures | derived(snapshot)).items()
    ]


@contextmanager
def shown(as_json: bool, folder: Path) -> Iterator[ProgressFile]:
    """A flow run's progress: on standard error, in the corpus folder, and as artifacts."""
    with live(as_json, folder) as progress, Artifacts(progress.snapshot, progress):
        yield progress
