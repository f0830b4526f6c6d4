"""Several processes on this machine, for those who do not type `torchrun`: started, listened to, ended together."""

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

Result = TypeVar("Result")

_SETTLING_S = 3.0  # Those whose partner died fail within moments of it; the partner's own words are worth waiting for.


def started() -> bool:
    """Whether this process was started as one of a group, by us or by `torchrun`."""
    return "WORLD_SIZE" in os.environ


def together(function: Callable[..., Result], arguments: Sequence[Any], processes: int, progress: Progress) -> Result:
    """Call `function(*arguments, progress)` in so many `processes`; pass on the first's progress and give its result.

    All of it is pickled: the function is one that can be imported, and its result is not None. When one process fails,
    all end. Raises what that one raised, or `Transient` for one that was killed.
    """
    # As bytes: a process imports what the function needs only once it is told whom to end with.
    group = _Group.start(processes, pickle.dumps((function, tuple(arguments))))
    try:
        result: Result = group.follow(progress)
        return result
    finally:
        group.end()


@dataclass
class _Member:
    """One process: its exit is awaited, its reports are read."""

    rank: int
    process: SpawnProcess
    reports: Connection
    result: Any = None
    failure: Exception | None = None
    silent: bool = False

    @property
    def signal(self) -> int:
        """What killed it; 0 while it lives, or when it ended by itself."""
        return max(0, -(self.process.exitcode or 0))


@dataclass
class _Group:
    members: list[_Member] = field(default_factory=list)

    @classmethod
    def start(cls, count: int, work: bytes) -> _Group:
        context, group, port = multiprocessing.get_context("spawn"), cls(), str(free_port())
        for rank in range(count):
            ours, theirs = context.Pipe(duplex=False)
            environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": str(rank), "LOCAL_RANK": str(rank),
                           "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}  # fmt: skip
            process = context.Process(target=_work, args=(theirs, environment, work), name=f"pretrain-{rank}")
            process.start()
            theirs.close()
            group.members.append(_Member(rank, process, ours))
        return group

    def follow(self, progress: Progress) -> Any:
        """Until all are done or one has failed."""
        while not all(member.silent for member in self.members):
            self._hear(progress, None)
            if any(member.failure or (member.silent and member.process.exitcode) for member in self.members):
                raise self._failure(progress)
        result = self.members[0].result
        if result is None:
            raise self._failure(progress)
        return result

    def _hear(self, progress: Progress, timeout_s: float | None) -> bool:
        """Take in what has been reported; False where nothing was for `timeout_s`."""
        speaking = {member.reports: member for member in self.members if not member.silent}
        heard = wait(list(speaking), timeout_s)
        for connection in heard:
            member = speaking[connection]  # type: ignore[index]
            try:
                _take(member, member.reports.recv(), progress)
            except (EOFError, OSError):  # Gone, perhaps in the midst of a report.
                member.silent = True
                member.process.join()
        return bool(heard)

    def _failure(self, progress: Progress) -> Exception:
        """The failure that explains the others: a process that was killed, else what one of them says of itself."""
        while self._hear(progress, _SETTLING_S):
            pass
        killed = next((member for member in self.members if member.signal), None)
        if killed:
            return Transient(
                f"process {killed.rank + 1} of {len(self.members)} was ended by signal {killed.signal}; if "
                "memory ran out, lower pretrain.micro_batch, and run the same command again to go on."
            )
        said = [member.failure for member in self.members if member.failure]
        ours = [failure for failure in said if isinstance(failure, GeocorpusError)]
        codes = [member.process.exitcode for member in self.members if member.process.exitcode]
        return (ours or said or [Transient(f"a training process ended with {codes}; run the same command again.")])[0]

    def end(self) -> None:
        """Leave no process behind."""
        for member in self.members:
            if member.process.is_alive():
                member.process.kill()
            member.process.join()
            member.reports.close()


def _take(member: _Member, report: tuple[str, Sequence[Any], dict[str, Any]], progress: Progress) -> None:
    kind, arguments, named = report
    if kind == "result":
        member.result = arguments[0]
    elif kind == "failure":
        member.failure = arguments[0]
    else:
        getattr(progress, kind)(*arguments, **named)


class _Reports:
    """Progress that is sent to the process that started this one."""

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
    """One process of the group; it does not outlive the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The starter hears it too, says so, and ends.
    threading.Thread(target=_end_with_starter, daemon=True).start()
    os.environ |= environment
    reports = _Reports(connection)
    try:
        function, arguments = pickle.loads(work)  # noqa: S301 (the starter's own)
        reports.send("result", function(*arguments, reports))
    except GeocorpusError as error:
        reports.send("failure", error)
    except Exception as error:
        reports.send("failure", Fatal(f"a training process failed: {type(error).__name__}: {_line(error)}."))
        raise


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _end_with_starter() -> None:
    starter = multiprocessing.parent_process()
    if starter is not None:
        wait([starter.sentinel])
        os._exit(1)
