"""A sandbox in a process of its own for benchmarks to ask: its address, its counters, the CPU time it took."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_URL = re.compile(r"http://127\.0\.0\.1:\d+")


@dataclass(frozen=True)
class Service:
    """A running sandbox process."""

    url: str
    pid: int

    def counters(self) -> dict[str, Any]:
        """What it was asked since the start or the last `reset`."""
        with urllib.request.urlopen(f"{self.url}/sandbox/counters") as response:  # noqa: S310
            return dict(json.load(response))

    def reset(self) -> None:
        """Start counting again."""
        self._post("reset", {})

    def faults(self, rules: Sequence[dict[str, Any]], seed: int = 0) -> None:
        """Put these faults in force (sandbox.service.faults.Fault as JSON); none: no faults."""
        self._post("faults", {"faults": list(rules), "seed": seed})

    def _post(self, name: str, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/sandbox/{name}", body)).close()  # noqa: S310

    def cpu_s(self) -> float:
        """CPU seconds of the process so far (Linux; 0 elsewhere)."""
        stat = Path(f"/proc/{self.pid}/stat")
        if not stat.exists():
            return 0.0
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(*options: str) -> Iterator[Service]:
    """`python -m sandbox OPTIONS` on a free port, ended with the block."""
    command = [sys.executable, "-m", "sandbox", "--port", "0", "--with-parent", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Service(next(result.group() for line in process.stdout if (result := _URL.search(line))), process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)
