"""Starts several processes on this machine without `torchrun`, reads their reports, and ends them together."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

from pipeline.errors import Fatal, GeocorpusError, Transient
from pipeline.free_port import free_port
from pipeline.progress import Progress
from pipeline.stopping import SIGNALS

Result = TypeVar("Result")

_GRACE_S = 3.0  # Processes fail soon after one of them dies; wait for the report of the one that explains it.


def started() -> bool:
    """Whether this process was started as one of a group, by `together` or by `torchrun`."""
    return "WORLD_SIZE" in os.environ


def together(function: Callable[..., Result], arguments: Sequence[Any], processes: int, progress: Progress) -> Result:
    """Call `function(*arguments, progress)` in `processes` processes; return the result of the first.

    Progress is that of the first process. Function, arguments and result are pickled: the function must be importable,
    and the result must not be None. When one process fails, all end. Raises the error of that process, or `Transient`
    for a process that was killed.
    """
    # As bytes: a process unpickles the function, and imports what it needs, only after it watches its parent.
    group = _Group.start(processes, pickle.dumps((function, tuple(arguments))))
    try:
        result: Result = group.follow(progress)
        return result
    finally:
        group.end()


@dataclass
class _Member:
    """One process, the connection of its reports, and what it has reported."""

    rank: int
    process: SpawnProcess
    reports: Connection
    result: Any = None
    failure: Exception | None = None
    closed: bool = False

    @property
    def signal(self) -> int:
        """The signal that killed it; 0 while it runs, or when it ended by itself."""
        return max(0, -(self.process.exitcode or 0))


@dataclass
class _Group:
    members: list[_Member] = field(default_factory=list)

    @classmethod
    def start(cls, count: int, work: bytes) -> _Group:
        context, group, port = multiprocessing.get_context("spawn"), cls(), str(free_port())
        for rank in range(count):
            receiver, sender = context.Pipe(duplex=False)
            environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": str(rank), "LOCAL_RANK": str(rank),
                           "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}  # fmt: skip
            process = context.Process(target=_work, args=(sender, environment, work), name=f"pretrain-{rank}")
            process.start()
            sender.close()
            group.members.append(_Member(rank, process, receiver))
        return group

    def follow(self, progress: Progress) -> Any:
        """Pass on progress until all are done; returns the result of the first. Raises the failure of any process."""
        while not all(member.closed for member in self.members):
            self._receive(progress, None)
            if any(member.failure or (member.closed and member.process.exitcode) for member in self.members):
                raise self._failure(progress)
        result = self.members[0].result
        if result is None:
            raise self._failure(progress)
        return result

    def _receive(self, progress: Progress, timeout_s: float | None) -> bool:
        """Read the reports that have arrived; False where there was none for `timeout_s`."""
        waiting = {member.reports: member for member in self.members if not member.closed}
        ready = wait(list(waiting), timeout_s)
        for connection in ready:
            member = waiting[connection]  # type: ignore[index]
            try:
                _apply(member, member.reports.recv(), progress)
            except (EOFError, OSError):  # The process ended, perhaps during a report.
                member.closed = True
                member.process.join()
        return bool(ready)

    def _failure(self, progress: Progress) -> Exception:
        """The failure that explains the others: a process that was killed, else a reported error."""
        while self._receive(progress, _GRACE_S):
            pass
        killed = next((member for member in self.members if member.signal), None)
        if killed:
            return Transient(
                f"process {killed.rank + 1} of {len(self.members)} was ended by signal {killed.signal}; if "
                "memory ran out, lower pretrain.micro_batch, and run the same command again to go on."
            )
        failures = [member.failure for member in self.members if member.failure]
        known = [failure for failure in failures if isinstance(failure, GeocorpusError)]
        codes = [member.process.exitcode for member in self.members if member.process.exitcode]
        return (
            known or failures or [Transient(f"a training process ended with {codes}; run the same command again.")]
        )[0]

    def end(self) -> None:
        """End every process."""
        for member in self.members:
            if member.process.is_alive():
                member.process.kill()
            member.process.join()
            member.reports.close()


def _apply(member: _Member, report: tuple[str, Sequence[Any], dict[str, Any]], progress: Progress) -> None:
    kind, arguments, named = report
    if kind == "result":
        member.result = arguments[0]
    elif kind == "failure":
        member.failure = arguments[0]
    else:
        getattr(progress, kind)(*arguments, **named)


class _Reports:
    """Progress that is sent to the parent process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, kind: str, *arguments: Any, **named: Any) -> None:
        self._connection.send((kind, arguments, named))

    def start(self, stage: str, total: int, done: int = 0) -> None:
        self.send("start", stage, total, done)

    def advance(self, count: int = 1) -> None:
        self.send("advance", count)

    def note(self, **figures: float | str) -> None:
        self.send("note", **figures)

    def say(self, sentence: str) -> None:
        self.send("say", sentence)


def _work(connection: Connection, environment: dict[str, str], work: bytes) -> None:
    """The main function of a process of the group; the process ends when its parent ends."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # The parent gets it too, reports it, and ends.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ |= environment
    reports = _Reports(connection)
    try:
        function, arguments = pickle.loads(work)  # noqa: S301 (from the parent)
        reports.send("result", function(*arguments, reports))
    except GeocorpusError as error:
        reports.send("failure", error)
    except Exception as error:
        reports.send("failure", Fatal(f"a training process failed: {type(error).__name__}: {_line(error)}."))
        raise


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
