"""The process that holds a lock, and whether it may still run."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Holder:
    """A process on a host. `started` distinguishes two processes that had the same process id one after the other.

    `machine` distinguishes hosts of one name, boots of one host, and containers that number their processes anew; it is
    empty where it cannot be read, and in files of older versions.
    """

    host: str
    pid: int
    started: str
    machine: str = ""

    @classmethod
    def me(cls) -> Holder:
        """This process."""
        return cls(socket.gethostname(), os.getpid(), _start_of(os.getpid()), _machine())

    @property
    def is_here(self) -> bool:
        """Whether its process id means something to this process."""
        return self.host == socket.gethostname() and self.machine in ("", _machine())

    @property
    def may_live(self) -> bool:
        """Whether the process may still run; always true for another host, where it cannot be checked."""
        if not self.is_here:
            return True
        return _is_running(self.pid) and _start_of(self.pid) == self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _start_of(pid: int) -> str:
    """The start time of a process, in the kernel's ticks since boot (Linux); empty where it cannot be read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _machine() -> str:
    """This boot of this machine and the numbering of its processes (Linux); empty where they cannot be read."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
