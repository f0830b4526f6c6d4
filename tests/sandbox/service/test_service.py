"""Errors, quotas, faults and counters, as the client and plain HTTP see them."""

from __future__ import annotations

import io
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import ee
import numpy as np
import pytest
import requests

from sandbox.service.faults import Fault, Faults
from sandbox.service.quotas import OFF, Meter, QuotaExceeded, Quotas
from sandbox.service.server import Sandbox
from tests.sandbox import world

ONE = {"expression": {"result": "0", "values": {"0": {"constantValue": 1}}}}


def post(sandbox, body=None, project="demo"):
    return requests.post(f"{sandbox.url}/v1/projects/{project}/value:compute", json=body or ONE, timeout=10)


# Errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ee.Image("no/such"), r"Image.load: Image asset 'no/such' not found \(does not exist or caller"),
        (lambda: ee.ImageCollection("no/such").size(), "ImageCollection.load: ImageCollection asset 'no/such' not"),
        (lambda: ee.FeatureCollection("no/such").size(), "Collection.loadTable: Collection asset 'no/such' not found"),
        (lambda: ee.Image(world.DEM).select("b2"), r"pattern 'b2' did not match any bands. Available bands: \[b1\]"),
        (
            lambda: ee.Image(ee.Algorithms.If(True, "a", 0)).bandNames(),
            "Invalid type.\nExpected type: Image<unknown bands>.\nActual type: String",
        ),
        (lambda: ee.List([]).get(0), "out of range"),
        (lambda: ee.Image(world.DEM).connectedPixelCount(), "'Image.connectedPixelCount'"),
    ],
)
def test_errors_have_earth_engines_words(sandbox, make, message):
    with pytest.raises(ee.EEException, match=message):
        make().getInfo()
    assert sandbox.counters()["statuses"] == {"400": 1}


def test_an_algorithm_that_does_not_exist_is_named(sandbox):
    node = {"functionInvocationValue": {"functionName": "Image.teleport", "arguments": {}}}
    reply = post(sandbox, {"expression": {"result": "0", "values": {"0": node}}})
    assert reply.status_code == 400
    assert "Image.teleport" in reply.json()["error"]["message"]


def test_an_argument_that_does_not_exist_is_named(sandbox):
    node = {"functionInvocationValue": {"functionName": "Date", "arguments": {"when": {"constantValue": 1}}}}
    reply = post(sandbox, {"expression": {"result": "0", "values": {"0": node}}})
    assert "Date: Unrecognized argument 'when'" in reply.json()["error"]["message"]


def test_an_unknown_asset_is_a_404_to_rest(sandbox):
    with pytest.raises(ee.EEException, match="'no/such' does not exist"):
        ee.data.getAsset("no/such")
    assert sandbox.counters()["statuses"] == {"404": 1}


def test_too_large_a_request_is_refused():
    with Sandbox(world.catalog()) as sandbox:
        world.connect(sandbox)
        with pytest.raises(ee.EEException, match=r"Total request size \(134217728 bytes\) must be less than or equal"):
            world.pixels(ee.Image(1.5), width=4096, height=4096)
        many = ee.Image.constant([1] * 1025)
        with pytest.raises(ee.EEException, match=r"Number of bands \(1025\) must be less than or equal to 1024"):
            world.pixels(many, width=1, height=1)
        with pytest.raises(ee.EEException, match="32768"):
            world.pixels(ee.Image(1), width=40000, height=1)


def test_sizes_can_be_unlimited(sandbox):
    request = {"expression": ee.Image.constant([1] * 1025), "fileFormat": "NPY", "grid": world.grid(0, 0, 1, 1)}
    array = np.load(io.BytesIO(ee.data.computePixels(request)), max_header_size=100_000)
    assert array.dtype.names[-1] == "constant_1024"


def test_long_graphs_are_evaluated_and_longer_ones_refused(sandbox):
    image = ee.Image(0).toUint16()
    for _ in range(300):
        image = image.add(1)
    assert world.pixels(image, width=1, height=1)["constant"][0, 0] == 300
    assert len(ee.Image.cat([ee.Image(1)] * 200).bandNames().getInfo()) == 200
    values = {"0": {"constantValue": 1}}
    for index in range(1, 1100):
        call = {"functionName": "Number.abs", "arguments": {"input": {"valueReference": str(index - 1)}}}
        values[str(index)] = {"functionInvocationValue": call}
    reply = post(sandbox, {"expression": {"result": "1099", "values": values}})
    assert reply.status_code == 400
    assert "too deeply nested" in reply.json()["error"]["message"]


@pytest.mark.parametrize("levels", [600, 3000])
def test_values_written_within_values_without_end_are_refused_in_a_sentence(sandbox, levels):
    text = '{"constantValue":1}'
    for _ in range(levels):
        text = '{"functionInvocationValue":{"functionName":"Number.abs","arguments":{"input":' + text + "}}}"
    body = '{"expression":{"result":"0","values":{"0":' + text + "}}}"
    reply = requests.post(f"{sandbox.url}/v1/projects/demo/value:compute", data=body, timeout=60)
    assert reply.status_code == 400
    assert "too deeply nested" in reply.json()["error"]["message"]


def test_a_value_that_needs_itself_is_refused(sandbox):
    call = {"functionName": "Number.abs", "arguments": {"input": {"valueReference": "0"}}}
    reply = post(sandbox, {"expression": {"result": "0", "values": {"0": {"functionInvocationValue": call}}}})
    assert reply.status_code == 400
    assert "too deeply nested" in reply.json()["error"]["message"]


# Quotas


def test_a_meter_refuses_the_request_over_the_rate():
    clock = [0.0]
    meter = Meter(Quotas(concurrent=None, requests_per_s=2.0, burst=3), lambda: clock[0])
    for _ in range(3):
        meter.enter("a")
    with pytest.raises(QuotaExceeded) as refusal:
        meter.enter("a")
    assert refusal.value.retry_after_s == pytest.approx(0.5)
    meter.enter("b")
    clock[0] = 0.5
    meter.enter("a")


def test_a_meter_refuses_the_request_over_the_concurrency():
    meter = Meter(Quotas(concurrent=2, requests_per_s=None))
    meter.enter("a")
    meter.enter("a")
    with pytest.raises(QuotaExceeded):
        meter.enter("a")
    meter.leave("a")
    meter.enter("a")


def test_over_the_concurrency_comes_a_429_with_retry_after():
    quotas = Quotas(concurrent=2, requests_per_s=None)
    with Sandbox(world.catalog(), latency_s=0.3, quotas=quotas) as sandbox, ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda _: post(sandbox), range(6)))
        refused = [reply for reply in replies if reply.status_code == 429]
        assert 1 <= len(refused) <= 4
        assert all(int(reply.headers["Retry-After"]) >= 1 for reply in refused)
        assert all(reply.json()["error"]["status"] == "RESOURCE_EXHAUSTED" for reply in refused)
        assert sandbox.counters()["peak_concurrency"] >= 3


def test_over_the_rate_comes_a_429_for_that_project_alone():
    with Sandbox(world.catalog(), quotas=Quotas(requests_per_s=0.001, burst=3)) as sandbox:
        assert [post(sandbox).status_code for _ in range(5)] == [200, 200, 200, 429, 429]
        assert post(sandbox, project="other").status_code == 200


def test_latency_waits_without_a_lock():
    with Sandbox(world.catalog(), latency_s=0.2, quotas=OFF) as sandbox, ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: post(sandbox), range(16)))
        assert sandbox.counters()["peak_concurrency"] > 4


# Faults


@pytest.mark.parametrize(
    ("kind", "status", "message"),
    [("429", 429, "Too Many Requests"), ("500", 500, "internal error"), ("503", 503, "unavailable"),
     ("memory", 400, "User memory limit exceeded."), ("timeout", 400, "Computation timed out."),
     ("missing", 400, "not found")],
)  # fmt: skip
def test_the_next_requests_fail(sandbox, kind, status, message):
    sandbox.faults(Fault(kind, "value:compute", next=2))
    replies = [post(sandbox) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [status, status, 200]
    assert message in replies[0].json()["error"]["message"]
    assert ("Retry-After" in replies[0].headers) == (kind == "429")
    assert sandbox.counters()["faults"] == {kind: 2}


def test_the_client_sees_the_message(sandbox):
    sandbox.faults(Fault("memory", next=1))
    with pytest.raises(ee.EEException, match="User memory limit exceeded"):
        ee.Number(1).getInfo()
    assert ee.Number(1).getInfo() == 1


def test_faults_strike_their_endpoint_only(sandbox):
    sandbox.faults(Fault("500", "image:computePixels", rate=1.0))
    assert post(sandbox).status_code == 200
    with pytest.raises(ee.EEException):
        world.pixels(ee.Image(1))


def test_a_slow_reply_is_slow(sandbox):
    sandbox.faults(Fault("slow", next=1, seconds=0.4))
    start = time.monotonic()
    assert post(sandbox).status_code == 200
    assert time.monotonic() - start >= 0.4


def test_a_truncated_body_ends_early(sandbox):
    sandbox.faults(Fault("truncated", next=1))
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)):
        post(sandbox)
    assert post(sandbox).status_code == 200


def test_a_reset_connection_is_reset(sandbox):
    sandbox.faults(Fault("reset", next=1))
    with pytest.raises(requests.exceptions.ConnectionError):
        post(sandbox)
    assert post(sandbox).status_code == 200


def test_restricted_mode_reaches_the_client_as_a_warning(sandbox):
    sandbox.faults(Fault("restricted", next=1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert ee.Number(1).getInfo() == 1
    assert any("quota" in str(warning.message).lower() for warning in caught)
    assert "x-earth-engine-quota-status" not in post(sandbox).headers


def test_rates_repeat_with_the_seed():
    def strikes(seed):
        faults = Faults(seed, [Fault("500", rate=0.3)])
        faults.set([Fault("500", rate=0.3)], seed)
        return [faults.strike("value:compute") is not None for _ in range(400)]

    assert strikes(1) == strikes(1) != strikes(2)
    assert 80 < sum(strikes(1)) < 160


def test_faults_can_be_set_over_http(sandbox):
    rules = {"seed": 3, "faults": [{"kind": "503", "endpoint": "value:compute", "next": 1}]}
    assert requests.post(f"{sandbox.url}/sandbox/faults", json=rules, timeout=5).json() == {"faults": 1}
    assert [post(sandbox).status_code for _ in range(2)] == [503, 200]
    wrong = requests.post(f"{sandbox.url}/sandbox/faults", json={"faults": [{"kind": "flood"}]}, timeout=5)
    assert wrong.status_code == 400
    assert "flood" in wrong.json()["error"]["message"]


# Counters


def test_counters_tell_requests_expressions_and_bytes(sandbox):
    for _ in range(2):
        world.pixels(ee.Image(1))
    world.pixels(ee.Image(2))
    ee.Number(1).getInfo()
    counters = requests.get(f"{sandbox.url}/sandbox/counters", timeout=5).json()
    assert counters["requests"] == {"image:computePixels": 3, "value:compute": 1}
    assert counters["total"] == 4
    assert counters["expressions"]["image:computePixels"] == {"distinct": 2, "requests": 3, "most_repeated": 2}
    assert counters["statuses"] == {"200": 4}
    assert counters["bytes_out"] > 3 * 64
    assert counters["algorithms"]["Image.constant"] == 3
    assert requests.post(f"{sandbox.url}/sandbox/reset", timeout=5).status_code == 200
    assert sandbox.counters()["total"] == 0


def test_one_client_in_many_threads(sandbox):
    def item(number):
        return ee.Number(number).multiply(2).getInfo()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(item, range(40))) == [2 * number for number in range(40)]
    assert sandbox.counters()["requests"]["value:compute"] == 40


def test_stopping_frees_the_port_and_ends_kept_connections():
    before = set(threading.enumerate())
    with requests.Session() as session:
        with Sandbox(world.catalog()) as sandbox:
            url = f"{sandbox.url}/sandbox/counters"
            assert session.get(url, timeout=5).status_code == 200
            assert post(sandbox).status_code == 200
        with pytest.raises(requests.exceptions.ConnectionError):
            session.get(url, timeout=5)
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=5)
        assert not thread.is_alive()
