"""A Prefect server on 127.0.0.1 for a single run. It ends with the process that started it, even if that is killed.

Prefect's own ephemeral server goes on when its parent is killed; this server watches its parent.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from flows.offline import START_TIMEOUT_S
from pipeline.errors import Fatal
from pipeline.free_port import free_port
from pipeline.interpreter import module_command, safe_environment


@contextmanager
def running() -> Iterator[str]:
    """Start the server on a free port and yield its API's URL; raises `Fatal` when it does not start."""
    port = free_port()
    command = module_command("flows.prefect_runs.prefect_server", str(port))
    # In a session of its own: Ctrl-C reaches only this process, and the server ends when this process is gone.
    process = subprocess.Popen(  # noqa: S603
        command,
        env=safe_environment(PREFECT_UI_ENABLED="0"),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait(process, f"http://127.0.0.1:{port}/api/health")
        yield f"http://127.0.0.1:{port}/api"
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


def serve(port: int) -> None:
    """Run the server in this process until it gets a signal to end or its parent is gone."""
    import uvicorn

    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    uvicorn.run("prefect.server.api.server:create_app", factory=True, host="127.0.0.1", port=port, log_level="error")


if __name__ == "__main__":
    serve(int(sys.argv[1]))
