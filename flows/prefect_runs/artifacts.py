"""A flow run's progress as Prefect artifacts: how far each stage is, and a table of its figures."""

from __future__ import annotations

import json
import re
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

EVERY_S = 30.0  # the server stores every update, and people do not look more often
_LAST_UPDATE_S = 5.0
Row = dict[str, str]


class Artifacts:
    """Sends a run's progress to a Prefect server every `every_s` seconds. Use as a context manager inside a flow run.

    It sends from a thread of its own, so that a slow or lost server does not slow down the work.
    """

    def __init__(self, snapshot: Callable[[], Snapshot], progress: Progress, every_s: float = EVERY_S) -> None:
        self._snapshot, self._progress, self._every_s = snapshot, progress, every_s
        self._created: dict[str, tuple[UUID, UUID]] = {}
        self._stopped = threading.Event()
        # The context holds the flow run that the artifacts belong to.
        self._sender = threading.Thread(target=copy_context().run, args=(self._send_repeatedly,), daemon=True)

    def __enter__(self) -> Artifacts:
        self._sender.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._sender.join(timeout=_LAST_UPDATE_S)

    def _send_repeatedly(self) -> None:
        while not self._stopped.wait(self._every_s):
            if not self._try_send():
                return
        self._try_send()

    def _try_send(self) -> bool:
        """Send the progress; False, with a sentence to the user, when the server does not take it."""
        snapshot = self._snapshot()
        try:
            if snapshot.stage:
                self._send(snapshot)
        except Exception as error:  # no error of Prefect may stop the work; the ledger records what is done
            self._progress.say(f"the Prefect server takes no artifacts ({type(error).__name__}); the work goes on.")
            return False
        return True

    def _send(self, snapshot: Snapshot) -> None:
        percent = 100.0 * snapshot.done / max(1, snapshot.total)
        if snapshot.stage not in self._created:
            self._created[snapshot.stage] = _create(snapshot, percent)
            return
        bar, table = self._created[snapshot.stage]
        update_progress_artifact(bar, percent)
        with get_client(sync_client=True) as client:
            client.update_artifact(table, ArtifactUpdate(data=json.dumps(rows(snapshot))))


_ODD = re.compile(r"[^a-z0-9]+")  # Prefect's keys have none of these


def _create(snapshot: Snapshot, percent: float) -> tuple[UUID, UUID]:
    """Create the two artifacts of a stage. All runs of a deployment share the keys; Prefect shows the newest run's."""
    key = _ODD.sub("-", f"geocorpus-{snapshot.stage}".lower()).strip("-")
    bar = create_progress_artifact(percent, key, f"How much of {snapshot.stage} is done.")
    table = create_table_artifact(rows(snapshot), f"{key}-figures", f"Figures of {snapshot.stage}.")
    return bar, table  # type: ignore[return-value]


def rows(snapshot: Snapshot) -> list[Row]:
    """The rows of the table: one per figure."""
    done: dict[str, Figure] = {"done": f"{snapshot.done:,} of {snapshot.total:,}"}
    return [
        {"figure": name.replace("_", " "), "value": f"{value}"}
        for name, value in (done | snapshot.figures | derived(snapshot)).items()
    ]


@contextmanager
def shown(as_json: bool, folder: Path) -> Iterator[ProgressFile]:
    """A flow run's progress, shown on standard error, in the corpus folder and as Prefect artifacts."""
    with live(as_json, folder) as progress, Artifacts(progress.snapshot, progress):
        yield progress
