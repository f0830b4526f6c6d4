"""The real client over HTTP: faults of every kind, counters, credentials."""

from __future__ import annotations

import logging
import socket
from dataclasses import replace

import ee
import google.oauth2.credentials
import pytest

from exporters import threads
from exporters.earth_engine import faults, transport
from exporters.earth_engine.client import WORKLOAD_TAG, Connection, connect
from exporters.earth_engine.limiter import Limiter
from exporters.earth_engine.retry import Patience
from pipeline.errors import Fatal, Missing, TooLarge, Transient
from pipeline.grid import Grid
from pipeline.progress import Silent
from sandbox.service.faults import Fault
from sandbox.service.quotas import Quotas
from sandbox.service.server import Sandbox
from tests.exporters import tiny_earth
from tests.exporters.conftest import IMPATIENT

GRID = Grid(tiny_earth.CRS, (620000.0, 5180000.0), (4, 5))
SECRET = "not-to-be-shown"  # noqa: S105


def numbers() -> ee.Image:
    return ee.Image(tiny_earth.ASTER).toInt16().rename("metres")


def test_pixels_arrive_on_the_grid_that_was_asked_for(engine):
    pixels = engine.pixels(numbers(), GRID)
    assert pixels.shape == (4, 5)
    assert pixels["metres"].tolist() == [[2000, 2001, 2002, 2003, 2004]] * 4


def test_an_answer_that_does_not_end_is_left_unread(engine, monkeypatch):
    monkeypatch.setattr(transport, "_MOST_BYTES", 100)
    with pytest.raises(TooLarge, match="the answer is longer than"):
        engine.pixels(numbers(), GRID)


@pytest.mark.parametrize("kind", ["429", "500", "503", "truncated", "reset", "timeout"])
def test_passing_faults_are_forgiven(engine, sandbox, kind):
    sandbox.faults(Fault(kind, next=1))
    before = engine.figures()
    assert engine.pixels(numbers(), GRID)["metres"][0, 0] == 2000
    after = engine.figures()
    assert (after.requests - before.requests, after.retries - before.retries) == (2, 1)
    assert after.throttled - before.throttled == (kind == "429")


LASTING = {
    "503": Transient, "truncated": Transient, "reset": Transient,
    "timeout": TooLarge, "memory": TooLarge, "missing": Missing,
}  # fmt: skip


@pytest.mark.parametrize(("kind", "error"), LASTING.items())
def test_lasting_faults_end_in_their_own_error(engine, sandbox, kind, error):
    sandbox.faults(Fault(kind, rate=1.0))
    with pytest.raises(error):
        engine.pixels(numbers(), GRID)
    asked = {"timeout": 2, "memory": 1, "missing": 1}.get(kind, IMPATIENT.transient_attempts)
    assert sandbox.counters()["total"] == asked


@pytest.mark.parametrize("kind", ["truncated", "reset", "500"])
def test_json_answers_are_retried_too(engine, sandbox, kind):
    sandbox.faults(Fault(kind, next=1))
    assert engine.value(ee.Number(40).add(2)) == 42


def test_a_call_has_a_deadline():
    patience = replace(IMPATIENT, timed_out_attempts=1)
    # A server of its own, since the answer that nobody waits for would be counted in another test.
    with Sandbox(catalog=tiny_earth.TinyEarth([])) as server:
        engine = connect(Connection("demo-project", url=server.url, patience=patience, deadline_s=2.0))
        server.faults(Fault("slow", next=1, seconds=4.0))
        with pytest.raises(faults.TimedOut, match="2 s"):
            engine.value(ee.Number(1))


@pytest.mark.filterwarnings("ignore:Your project has exceeded")
def test_the_quota_header_is_noticed(engine, sandbox):
    assert not engine.figures().restricted
    sandbox.faults(Fault("restricted", next=1))
    engine.value(ee.Number(1))
    assert engine.figures().restricted


def test_the_server_that_does_not_answer_is_the_one_that_is_named():
    to_earth_engine = transport.Transport("https://earthengine.example", Limiter(1, 1.0), 5.0, 1)
    with pytest.raises(transport.Unreachable, match="http://127.0.0.1:9"):
        to_earth_engine.request("http://127.0.0.1:9/token")


def test_an_unknown_request_is_refused_once(engine, sandbox):
    with pytest.raises(Fatal, match="Earth Engine refuses"):
        engine.value(ee.List([1]).get(5))
    assert sandbox.counters()["total"] == 1


def test_tables_come_page_by_page(engine, sandbox):
    points = ee.FeatureCollection([ee.Feature(ee.Geometry.Point([number, 0]), {"n": number}) for number in range(7)])
    assert [feature["properties"]["n"] for feature in engine.features(points, page_size=3)] == list(range(7))
    assert sandbox.counters()["requests"] == {"table:computeFeatures": 3}


def test_no_more_requests_are_in_flight_than_agreed():
    with Sandbox(catalog=tiny_earth.TinyEarth([]), latency_s=0.02) as server:
        engine = connect(Connection("demo-project", url=server.url, patience=IMPATIENT, concurrency=3))
        answers = threads.each(lambda number: engine.value(ee.Number(number)), range(12), 12)
        assert sorted(answers) == list(range(12))
        assert server.counters()["peak_concurrency"] == 3


@pytest.mark.slow
def test_a_lower_limit_of_the_service_is_found_with_few_refusals():
    quotas = Quotas(concurrent=3, requests_per_s=None)
    with Sandbox(catalog=tiny_earth.TinyEarth([]), latency_s=0.1, quotas=quotas) as server:
        engine = connect(Connection("demo-project", url=server.url, patience=IMPATIENT, concurrency=9))
        answers = threads.each(lambda number: engine.value(ee.Number(number)), range(120), 9)
        assert sorted(answers) == list(range(120))
        figures = engine.figures()
        assert 0 < figures.throttled <= 15
        assert figures.concurrency <= 5


def test_a_restriction_is_obeyed_and_said_once(sandbox):
    engine = connect(Connection("demo-project", url=sandbox.url, patience=IMPATIENT))
    progress = Listening()
    sandbox.faults(Fault("restricted", rate=1.0))
    for number in range(3):
        engine.value(ee.Number(number))
        engine.tell(progress)
    assert engine.figures().concurrency == 2
    assert len(progress.said) == 1 and "monthly compute quota" in progress.said[0]


class Listening(Silent):
    """Remembers sentences."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


def test_requests_carry_a_label_by_which_their_compute_can_be_found(engine):
    assert ee.data.getWorkloadTag() == WORKLOAD_TAG
    assert engine.value(ee.Number(7)) == 7


def test_a_start_that_stumbles_is_tried_again(sandbox):
    sandbox.faults(Fault("503", next=2))
    assert connect(Connection("demo-project", url=sandbox.url, patience=IMPATIENT)).figures().retries == 2


def test_nobody_at_a_local_address_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(Fatal, match="nothing answers at http://127.0.0.1.*sandbox serve") as error:
        connect(Connection("demo-project", url=f"http://127.0.0.1:{port}"))
    assert "\n" not in str(error.value)


def test_no_credentials_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with pytest.raises(Fatal, match="no Earth Engine credentials.*earthengine authenticate") as error:
        connect(Connection("some-project"))
    assert "\n" not in str(error.value)


def test_a_damaged_file_of_credentials_is_one_sentence(monkeypatch, tmp_path):
    path = tmp_path / "credentials"
    path.write_text('{"refresh_token": ')
    monkeypatch.setattr(ee.oauth, "get_credentials_path", lambda: str(path))
    with pytest.raises(Fatal, match="not JSON that can be read; .*earthengine authenticate"):
        connect(Connection("demo-project"))


def test_credentials_are_sent_and_never_shown(sandbox, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    credentials = google.oauth2.credentials.Credentials(token=SECRET)
    connection = Connection("demo-project", url=sandbox.url, credentials=credentials, patience=IMPATIENT)
    engine = connect(connection)
    shown = [repr(connection), repr(engine.figures())]
    for kind in ("503", "missing", "memory"):
        sandbox.faults(Fault(kind, rate=1.0))
        with pytest.raises((Transient, TooLarge, Missing)) as error:
            engine.value(ee.Number(1))
        shown += [str(error.value), repr(error.value)]
    shown += [caplog.text, *capsys.readouterr()]
    assert not any(SECRET in text for text in shown)


def test_patience_is_the_callers(sandbox):
    engine = connect(Connection("demo-project", url=sandbox.url, patience=Patience(transient_attempts=1)))
    sandbox.faults(Fault("503", rate=1.0))
    sandbox.reset_counters()
    with pytest.raises(Transient):
        engine.value(ee.Number(1))
    assert sandbox.counters()["total"] == 1


def test_a_second_server_can_be_connected_to(engine):
    with Sandbox(catalog=tiny_earth.TinyEarth(tiny_earth.statics())) as other:
        elsewhere = connect(Connection("other-project", url=other.url, patience=IMPATIENT))
        other.reset_counters()
        assert elsewhere.pixels(numbers(), GRID)["metres"][0, 0] == 2000
        assert other.counters()["total"] == 1


def test_credentials_go_nowhere_unencrypted():
    with pytest.raises(Fatal, match="not encrypted"):
        connect(Connection("demo", "http://earthengine.example.org", google.oauth2.credentials.Credentials("t")))


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_no_proxy_is_asked_for_this_machine(sandbox, monkeypatch, name):
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody answers
    engine = connect(Connection("demo-project", url=sandbox.url, patience=IMPATIENT))
    assert engine.value(ee.Number(1).add(2)) == 3
