"""A Prefect server on 127.0.0.1 for a single run, behind a password of the run.

Prefect's own ephemeral server lets every user of the machine in, and goes on when its parent is killed; this one asks
for the password, and watches its parent.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial

from flows.offline import START_TIMEOUT_S
from flows.prefect_runs import database
from pipeline.errors import Fatal
from pipeline.free_port import free_port
from pipeline.interpreter import module_command, safe_environment
from pipeline.stopping import at_stop


@dataclass(frozen=True)
class LocalServer:
    """The URL of the API, and `user:password` for it."""

    url: str
    auth_string: str

    def __repr__(self) -> str:
        return f"LocalServer({self.url})"

    def reached(self) -> AbstractContextManager[object]:
        """Have Prefect reach this server, in this process."""
        # Here, as the server's own process first watches its parent and then loads Prefect.
        from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

        return temporary_settings({PREFECT_API_URL: self.url, PREFECT_API_AUTH_STRING: self.auth_string})


@contextmanager
def running() -> Iterator[LocalServer]:
    """Start the server on a free port and yield how to reach it; raises `Fatal` when it does not start."""
    port = free_port()
    server = LocalServer(f"http://127.0.0.1:{port}/api", f"geocorpus:{secrets.token_hex(32)}")
    command = module_command("flows.prefect_runs.prefect_server", str(port), str(os.getpid()))
    # Other users see a command line, and not an environment.
    environment = safe_environment(
        PREFECT_UI_ENABLED="0", PREFECT_SERVER_API_AUTH_STRING=server.auth_string, **database.variables()
    )
    # In a session of its own: Ctrl-C reaches only this process, and the server ends when this process is gone.
    process = subprocess.Popen(  # noqa: S603
        command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        with at_stop(partial(_end, process)):
            _wait(process, f"{server.url}/health")
            yield server
    finally:
        _end(process)


def _wait(process: subprocess.Popen[bytes], health_url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if _answers(health_url):
            return
        time.sleep(0.2)
    why = f"ended with code {process.returncode}" if process.returncode else f"took over {START_TIMEOUT_S} s"
    raise Fatal(
        f"Prefect's local server {why}; check that PREFECT_HOME can be written, "
        "or run sample, anchor, export and finalize one by one, which need no server."
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)


def serve(port: int, parent: int) -> None:
    """Run the server in this process until it gets a signal to end or `parent`, who started it, is gone."""
    import uvicorn

    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    database.prepare()
    uvicorn.run("prefect.server.api.server:create_app", factory=True, host="127.0.0.1", port=port, log_level="error")


if __name__ == "__main__":
    serve(*map(int, sys.argv[1:]))
