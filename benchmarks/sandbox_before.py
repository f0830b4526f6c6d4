"""What a chip costs the sandbox now and at an earlier commit: the same requests to both, in turn, and their pixels.

Run as a file with the checkout of either commit on PYTHONPATH it is one of the two servers, so it imports nothing else.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

BEFORE = "3c25317"
"""The last sandbox without the service's limits, pyramids and the antimeridian."""
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Posted:
    """A request as a client sent it."""

    path: str
    body: bytes

    @property
    def is_for_pixels(self) -> bool:
        return self.path.endswith("image:computePixels")


@dataclass(frozen=True)
class Compared:
    """CPU seconds of both for the same chips, and how many of their answers differ."""

    chips: int
    before_s: float
    now_s: float
    differing: int


@dataclass(frozen=True)
class Server:
    """A sandbox of one commit in a process of its own."""

    url: str
    process: subprocess.Popen[str]

    def cpu_s(self) -> float:
        """What the process has used."""
        assert self.process.stdin is not None and self.process.stdout is not None  # noqa: S101
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def answer(self, posted: Posted) -> tuple[float, bytes]:
        """The CPU seconds that a request cost, and the hash of the answer."""
        start = self.cpu_s()
        request = urllib.request.Request(self.url + posted.path, posted.body)  # noqa: S310
        try:
            reply = urllib.request.urlopen(request)  # noqa: S310
        except urllib.error.HTTPError as refusal:  # an answer like another
            reply = refusal
        with reply:
            body = reply.read()
        return self.cpu_s() - start, hashlib.sha256(body).digest()


@contextmanager
def server(checkout: Path) -> Iterator[Server]:
    """The sandbox of a checkout, which ends with the block."""
    command = [sys.executable, "-P", __file__]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    process = subprocess.Popen(
        command, cwd=checkout, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None  # noqa: S101
    try:
        yield Server(process.stdout.readline().strip(), process)
    finally:
        process.stdin.close()
        process.wait(timeout=30)


def compared(requests: Sequence[Posted], checkout: Path) -> Compared:
    """The chips of `requests` by `checkout` and by ours, in turn: what else the machine does falls on both alike.

    All other requests come first, as anchoring comes before the export. The first chip warms up.
    """
    others, chips = ([r for r in requests if r.is_for_pixels is wanted] for wanted in (False, True))
    with ExitStack() as stack:
        before, now = (stack.enter_context(server(folder)) for folder in (checkout, _ROOT))
        for request in (*others, chips[0]):
            before.answer(request), now.answer(request)
        pairs = [(before.answer(chip), now.answer(chip)) for chip in chips[1:]]
    old_s, new_s = (sum(pair[k][0] for pair in pairs) for k in (0, 1))
    return Compared(len(pairs), old_s, new_s, sum(old[1] != new[1] for old, new in pairs))


def _serve() -> None:
    """One of the two: prints its address, and its CPU seconds for every line."""
    from sandbox.planet import Planet
    from sandbox.service import main
    from sandbox.service.quotas import OFF
    from sandbox.service.server import Sandbox

    planet = Planet(0)
    if hasattr(main, "spare_the_collector"):  # as `serve` does, where it does
        main.spare_the_collector()
    with Sandbox(planet, quotas=OFF) as sandbox:
        print(sandbox.url, flush=True)
        for _ in sys.stdin:
            print(time.process_time(), flush=True)


if __name__ == "__main__":
    _serve()
