"""The built-in local Earth Engine as a process of its own, which ends with the process that started it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from flows.settings import SourceSettings
from pipeline.errors import Fatal
from pipeline.interpreter import module_command, safe_environment
from pipeline.stopping import at_stop

_URL = re.compile(r"http://127\.0\.0\.1:\d+")


@contextmanager
def running(settings: SourceSettings) -> Iterator[str]:
    """Start `python -m sandbox` on a free port, yield its URL, end it. It also ends when this process dies.

    Raises `Fatal` when it does not start.
    """
    command = module_command(
        "sandbox", "--port", "0", "--with-parent", str(os.getpid()),
        "--seed", str(settings.sandbox_seed), "--latency", str(settings.sandbox_latency_s),
    )  # fmt: skip
    # In a session of its own: Ctrl-C reaches only this process, and the sandbox ends when this process is gone.
    process = subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, start_new_session=True,
        env=safe_environment(),
    )  # fmt: skip
    try:
        with at_stop(partial(_end, process)):
            yield _url(process)
    finally:
        _end(process)
        if process.stdout:
            process.stdout.close()


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait(timeout=30)


def _url(process: subprocess.Popen[str]) -> str:
    for line in process.stdout or ():
        result = _URL.search(line)
        if result:
            return result.group()
    raise Fatal("the local Earth Engine did not start; run `geocorpus sandbox serve` to see why.")
