"""A flow run whose Prefect server is gone: it ends, and says what the work came to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from flows.prefect_runs import run_outcome
from flows.prefect_runs.run_outcome import RunOutcome, current, record_outcome
from pipeline.errors import Fatal
from tests.flows.cluster.test_cluster import CAP, CHIPS, frozen, service, settings_of, spooled, wait_for
from tests.flows.jobs import counters, start


class _Refusing(BaseHTTPRequestHandler):
    """A server that is there, and wants a password first."""

    def do_GET(self) -> None:
        self.send_error(401)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Nothing."""


@contextmanager
def server() -> Iterator[str]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_port}/api"
    finally:
        running.shutdown()
        running.server_close()


def test_only_a_server_that_is_gone_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_outcome, "_POLL_S", 0.01)
    left, over = threading.Event(), RunOutcome()
    with server() as url:
        over.watch(url, lambda of: left.set())
        assert not left.wait(0.1), "the work goes on"
        over.succeeded("done")
        assert not left.wait(0.2), "the server answers"
    assert left.wait(5)
    assert over.message == "done" and over.error is None


def test_a_body_tells_what_it_came_to_before_prefect_is() -> None:
    @record_outcome
    def body(number: int) -> str:
        if number < 0:
            raise Fatal("negative")
        return f"done {number}"

    assert body(1) == "done 1", "nobody listens"
    good, bad = RunOutcome(), RunOutcome()
    token = current.set(good)
    assert body(number=2) == "done 2"
    good.failed(ConnectionError("Prefect cannot be told"))
    assert good.message == "done 2" and good.error is None
    current.set(bad)
    with pytest.raises(Fatal):
        body(-1)
    current.reset(token)
    assert bad.message is None and isinstance(bad.error, Fatal)


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.xdist_group("cluster")
def test_a_flow_on_a_cluster_outlives_its_prefect_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    folder = frozen(tmp_path / "corpus")
    with service() as url:
        process = start("export", "demo", *settings_of(url, folder, "cluster.kind=local"), "--prefect")
        wait_for(lambda: spooled(folder) > 1, process)
        children = psutil.Process(process.pid).children()
        servers = [child for child in children if "flows.prefect_runs.prefect_server" in child.cmdline()]
        assert len(servers) == 1
        servers[0].kill()
        out, errors = process.communicate(timeout=120)
        seen = counters(url)
    assert process.returncode == 0, errors
    assert "All pixels are in" in out
    assert "the Prefect server is gone" in errors and "Traceback" not in errors
    assert seen["expressions"]["image:computePixels"]["requests"] == CHIPS
    assert seen["peak_concurrency"] <= CAP
