"""A Dask scheduler and workers as processes of their own, with TLS, as on a cluster that runs already."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.cluster.certificates import in_files

_ADDRESS = re.compile(r"tls://127\.0\.0\.1:\d+")


def certificates(folder: Path) -> dict[str, str]:
    """Write a new certificate and its key to `folder`; returns the environment variables that name them to Dask."""
    security = in_files(folder)
    tls = {"CA_FILE": security.tls_ca_file}
    for role in ("CLIENT", "SCHEDULER", "WORKER"):
        tls |= {f"{role}__CERT": security.tls_client_cert, f"{role}__KEY": security.tls_client_key}
    return {f"DASK_DISTRIBUTED__COMM__TLS__{name}": value for name, value in tls.items()}


@dataclass
class DaskProcesses:
    """The scheduler's address and the processes; any of them may be killed.

    `environment` are the variables with which a process that works with them must be started.
    """

    address: str
    environment: dict[str, str]
    scheduler: subprocess.Popen[Any]
    workers: list[subprocess.Popen[Any]] = field(default_factory=list)

    @classmethod
    def begun(cls, environment: dict[str, str]) -> DaskProcesses:
        """A scheduler at a free port, and no workers yet."""
        command = [
            sys.executable, "-m", "dask", "scheduler", "--protocol", "tls", "--host", "127.0.0.1", "--port", "0",
            "--no-dashboard", "--dashboard-address", "127.0.0.1:0",
        ]  # fmt: skip
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=os.environ | environment
        )
        for line in process.stderr or ():
            if result := _ADDRESS.search(line):
                return cls(result.group(), environment, process)
        raise RuntimeError("the Dask scheduler did not start")

    def worker_command(self, *options: str) -> list[str]:
        """What starts a worker without a nanny that listens on this machine alone."""
        return [
            sys.executable, "-m", "dask", "worker", self.address, "--host", "127.0.0.1", "--no-nanny",
            "--no-dashboard", *options,
        ]  # fmt: skip

    def add_worker(self) -> None:
        """One more process that works on one shard at a time; it ends when it loses the scheduler."""
        command = self.worker_command(
            "--nthreads", "1", "--memory-limit", "0", "--death-timeout", "15", "--local-directory", "/tmp"  # noqa: S108
        )  # fmt: skip
        self.workers.append(
            subprocess.Popen(
                command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=os.environ | self.environment
            )
        )

    def mend(self, workers: int) -> None:
        """Replace what has died, as whoever keeps a cluster does; without a scheduler the workers end, too."""
        if self.scheduler.poll() is not None:
            self.stop()
            new = DaskProcesses.begun(self.environment)
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
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        running = DaskProcesses.begun(certificates(Path(folder)))
        stack.callback(running.stop)
        for _ in range(workers):
            running.add_worker()
        yield running
