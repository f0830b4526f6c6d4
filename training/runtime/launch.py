"""Starts several processes on this machine without `torchrun`, reads their reports, and ends them together."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from pipeline.errors import Fatal, GeocorpusError, Transient
from pipeline.free_port import free_port
from pipeline.progress import Progress
from pipeline.stopping import SIGNALS, Deferral, Stopped, deferring
from training.runtime.process_logs import ProcessLogs, print_to

Result = TypeVar("Result")

_WARNINGS = "PYTHONWARNINGS"
_GRACE_S = 3.0  # Processes fail soon after one of them dies; wait for the report of the one that explains it.


def started() -> bool:
    """Whether this process was started as one of a group, by `together` or by `torchrun`."""
    return "WORLD_SIZE" in os.environ


def together(
    function: Callable[..., Result], arguments: Sequence[Any], processes: int, progress: Progress, logs: Path
) -> Result:
    """Call `function(*arguments, progress)` in `processes` processes; return the result of the first.

    Progress is that of the first process; what they print goes to files in the folder `logs`, of which empty ones do
    not stay. Function, arguments and result are pickled: the function must be importable, and the result must not be
    None. When one process fails, all end. A signal is passed on to them, and obeyed here when they have ended.

    Raises the error of the process that failed, or `Transient` for a process that was killed.
    """
    output = ProcessLogs(logs, processes)
    _start_tracker()
    # As bytes: a process unpickles the function, and imports what it needs, only after it watches its parent.
    group = _Group.start(output, pickle.dumps((function, tuple(arguments))))
    with deferring(group.tell) as stop:
        result: Result = group.outcome(progress, stop)
    return result


def _start_tracker() -> None:
    """Start Python's own watcher of semaphores, which would warn on standard error of those of a killed process."""
    before = os.environ.get(_WARNINGS)
    os.environ[_WARNINGS] = "ignore::UserWarning:multiprocessing.resource_tracker"
    try:
        resource_tracker.ensure_running()
    finally:
        del os.environ[_WARNINGS]
        if before is not None:
            os.environ[_WARNINGS] = before


@dataclass(frozen=True)
class _Defect:
    """An error that nobody raised on purpose, and when, in seconds of this machine's clock."""

    error: Exception
    at_s: float


@dataclass
class _Member:
    """One process, the connection of its reports, and what it has reported."""

    rank: int
    process: SpawnProcess
    reports: Connection
    result: Any = None
    failure: Exception | None = None
    defect: _Defect | None = None
    closed: bool = False

    @property
    def signal(self) -> int:
        """The signal that killed it; 0 while it runs, or when it ended by itself."""
        return max(0, -(self.process.exitcode or 0))

    @property
    def died(self) -> bool:
        """Whether it ended without a word."""
        reported = self.result is not None or self.failure is not None or self.defect is not None
        return self.closed and not reported


@dataclass
class _Group:
    output: ProcessLogs
    members: list[_Member] = field(default_factory=list)

    @classmethod
    def start(cls, output: ProcessLogs, work: bytes) -> _Group:
        context, group, port = multiprocessing.get_context("spawn"), cls(output), str(free_port())
        count = output.count
        for rank, path in enumerate(output.paths):
            receiver, sender = context.Pipe(duplex=False)
            environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": str(rank), "LOCAL_RANK": str(rank),
                           "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}  # fmt: skip
            process = context.Process(target=_work, args=(sender, environment, path, work), name=f"pretrain-{rank}")
            process.start()
            sender.close()
            group.members.append(_Member(rank, process, receiver))
        return group

    def tell(self, _number: int) -> None:
        """Ask every process to stop."""
        for member in self.members:
            if member.process.is_alive():
                member.process.terminate()

    def outcome(self, progress: Progress, stop: Deferral) -> Any:
        """As `follow`, until all have ended; None, and `stop` waits, where they were stopped by a signal."""
        refused = False
        try:
            return self.follow(progress)
        except Stopped as stopped:
            stop.ask(stopped.number)
        except Transient:
            if not stop.asked:  # One that had hardly started does not know how to stop otherwise.
                raise
        except Fatal:
            refused = not any(member.defect for member in self.members)
            raise
        finally:
            self.end()
            self.output.tidy(refused)

    def follow(self, progress: Progress) -> Any:
        """Pass on progress until all are done; returns the result of the first. Raises the failure of any process."""
        while not all(member.closed for member in self.members):
            self._receive(progress, None)
            if any(member.failure or member.defect or (member.closed and member.process.exitcode)
                   for member in self.members):  # fmt: skip
                raise self._failure(progress)
        result = self.members[0].result
        if result is None:
            raise self._failure(progress)
        return result

    def _receive(self, progress: Progress, timeout_s: float | None) -> bool:
        """Read the reports that have arrived; False where there was none for `timeout_s`."""
        waiting = {member.reports: member for member in self.members if not member.closed}
        if not waiting:
            return False
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
        """The failure that explains the others: of a killed process, a refusal, a silent death, then any other."""
        while self._receive(progress, _GRACE_S):
            pass
        killed = next((member for member in self.members if member.signal), None)
        if killed:
            return Transient(
                f"process {killed.rank + 1} of {len(self.members)} was ended by signal {killed.signal}; if memory ran "
                f"out, lower pretrain.micro_batch, and run the same command again to go on{self.output.where()}."
            )
        failures = [member.failure for member in self.members if member.failure]
        died = [self._died(member) for member in self.members if member.died]
        # Those that lose their connection to another fail after it.
        defects = sorted((member.defect for member in self.members if member.defect), key=lambda defect: defect.at_s)
        return (*failures, *died, *(defect.error for defect in defects), self._died(self.members[0]))[0]

    def _died(self, member: _Member) -> Exception:
        return Transient(
            f"process {member.rank + 1} of {len(self.members)} ended with code {member.process.exitcode}; run the same "
            f"command again to go on{self.output.where()}."
        )

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
    elif kind in ("failure", "defect"):
        setattr(member, kind, arguments[0])
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


def _work(connection: Connection, environment: dict[str, str], log: Path, work: bytes) -> None:
    """The main function of a process of the group; the process ends when its parent ends."""
    print_to(log)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _wait_for_the_parent)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ |= environment
    reports = _Reports(connection)
    try:
        with deferring():  # from now on: a signal before the first step is obeyed after it
            function, arguments = pickle.loads(work)  # noqa: S301 (from the parent)
            result = function(*arguments, reports)
        reports.send("result", result)
    except GeocorpusError as error:
        reports.send("failure", error)
    except Exception as error:
        what = f"{type(error).__name__}: {_line(error)}"
        sentence = f"a training process failed: {what}; what it printed is in {log}."
        reports.send("defect", _Defect(Fatal(sentence), time.monotonic()))
        raise


def _wait_for_the_parent(number: int, frame: FrameType | None) -> None:
    """The parent gets the signal too, and ends what does not end by itself."""


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
