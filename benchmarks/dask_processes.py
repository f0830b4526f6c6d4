"""A Dask scheduler and workers as processes of their own, as on a cluster that runs already."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

_ADDRESS = re.compile(r"tcp://127\.0\.0\.1:\d+")


@dataclass
class DaskProcesses:
    """The scheduler's address and the processes; any of them may be killed."""

    address: str
    scheduler: subprocess.Popen[Any]
    workers: list[subprocess.Popen[Any]] = field(default_factory=list)

    @classmethod
    def begun(cls) -> DaskProcesses:
        """A scheduler at a free port, and no workers yet."""
        command = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        for line in process.stderr or ():
            if result := _ADDRESS.search(line):
                return cls(result.group(), process)
        raise RuntimeError("the Dask scheduler did not start")

    def add_worker(self) -> None:
        """One more process that works on one shard at a time; it ends when it loses the scheduler."""
        command = [
            sys.executable, "-m", "dask", "worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard",
            "--memory-limit", "0", "--death-timeout", "15", "--local-directory", "/tmp",  # noqa: S108
        ]  # fmt: skip
        self.workers.append(subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL))

    def mend(self, workers: int) -> None:
        """Replace what has died, as whoever keeps a cluster does; without a scheduler the workers end, too."""
        if self.scheduler.poll() is not None:
            self.stop()
            new = DaskProcesses.begun()
            self.address, self.scheduler, self.workers = new.address, new.scheduler, []
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < workers:
            self.add_worker()

    def stop(self) -> None:
        """End everything that still lives."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()
        if self.scheduler.stderr:
            self.scheduler.stderr.close()


@contextmanager
def dask_processes(workers: int) -> Iterator[DaskProcesses]:
    """A scheduler with so many workers."""
    with ExitStack() as stack:
        running = DaskProcesses.begun()
        stack.callback(running.stop)
        for _ in range(workers):
            running.add_worker()
        yield running
