"""Ready chips are deterministic, equal in whatever parts they are asked for, and take no evaluation; profiles."""

from __future__ import annotations

import io

import ee
import numpy as np
import pytest
import requests

from sandbox import profiles
from sandbox.service.faults import Fault
from sandbox.service.quotas import OFF
from sandbox.service.ready import ReadyPool, kind_of
from sandbox.service.server import Sandbox
from tests.sandbox import world

VARIANTS = 3


@pytest.fixture(scope="module")
def running():
    """In the place of the sandbox that computes; the fixture `sandbox` is the same."""
    with Sandbox(world.catalog(), quotas=OFF, ready_chips=VARIANTS) as sandbox:
        yield sandbox


def ramp(start: float) -> ee.Image:
    """Two bands of different types; what they show depends on `start` and on the place."""
    lonlat = ee.Image.pixelLonLat()
    first = lonlat.select([0]).multiply(1000).add(start).toUint16().rename(["a"])
    return first.addBands(lonlat.select([1]).add(start).toFloat().rename(["b"]))


def at(place: int, image: ee.Image) -> np.ndarray:
    return world.pixels(image, x=1000 * place, y=500, width=4, height=3)


def test_a_place_gets_the_same_pixels_however_often_and_in_whatever_parts(sandbox):
    first = [at(place, ramp(place)) for place in range(12)]
    again = [at(place, ramp(place)) for place in reversed(range(12))][::-1]
    assert all(np.array_equal(item, other) for item, other in zip(first, again, strict=True))
    for place in range(12):
        for name in ("b", "a"):
            part = at(place, ramp(place).select([name]))
            assert part.dtype.names == (name,) and np.array_equal(part[name], first[place][name])
    assert 1 < len({item.tobytes() for item in first}) <= VARIANTS


def test_ready_answers_are_counted_and_cost_no_evaluation(sandbox):
    for index in range(20):
        at(index, ramp(7).rename(["c", "d"]))
    spent = sandbox.counters()["evaluation_cpu_seconds"]
    sandbox.reset_counters()
    for index in range(20):
        at(index, ramp(8).rename(["c", "d"]))
    counters = sandbox.counters()
    assert counters["requests"] == {"image:computePixels": 20}
    assert counters["expressions"]["image:computePixels"]["distinct"] == 20
    assert counters["evaluation_cpu_seconds"] == 0 < spent


def test_faults_and_errors_stay_on(sandbox):
    at(0, ramp(0))
    sandbox.faults(Fault("503", "image:computePixels", next=1))
    with pytest.raises(ee.EEException, match="unavailable"):
        at(0, ramp(0))
    with pytest.raises(ee.EEException, match="did not match any bands"):
        at(0, ramp(0).select(["c"]))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b'{"constantValue": 3}', b'{"constantValue": -4.5e3}', True),
        (b'{"constantValue": "A/B/1"}', b'{"constantValue": "A/B/2"}', True),
        (b'{"constantValue": [0, 0]}', b'{"constantValue": [7, 1]}', True),
        (b'{"constantValue": [0, 0]}', b'{"constantValue": [0, 0, 0]}', False),
        (b'{"constantValue": "B1"}', b'{"constantValue": "B2"}', False),
        (b'{"constantValue": ["B1"]}', b'{"constantValue": ["B1", "B2"]}', False),
        (b'"crsCode": "EPSG:32631", "scaleX": 10', b'"crsCode": "EPSG:32755", "scaleX": 10', True),
        (b'{"dimensions": {"width": 8}}', b'{"dimensions": {"width": 9}}', False),
        (b'"functionName": "Image.toByte"', b'"functionName": "Image.toFloat"', False),
    ],
)
def test_two_requests_are_of_a_kind_when_only_numbers_places_and_scenes_differ(one, other, same):
    assert (kind_of(one) == kind_of(other)) == same


def test_what_comes_first_stays_whoever_else_computes_it():
    def body(value: int) -> bytes:
        stream = io.BytesIO()
        np.save(stream, np.full((2, 2), value, dtype=[("a", "u1")]))
        return stream.getvalue()

    pool = ReadyPool(1)
    assert pool.find(b"x", {}) is None
    kept = pool.keep(b"x", {}, body(1))
    assert pool.keep(b"x", {}, body(2)) == kept == pool.find(b"x", {"crsCode": "EPSG:1"})


def ask(sandbox: Sandbox, headers: dict[str, str]) -> requests.Response:
    node = {"functionInvocationValue": {"functionName": "Number.abs", "arguments": {"input": {"constantValue": -1}}}}
    body = {"expression": {"result": "0", "values": {"0": node}}}
    return requests.post(f"{sandbox.url}/v1/projects/p/value:compute", json=body, headers=headers, timeout=10)


def test_a_profile_is_made_for_those_who_ask(sandbox):
    assert profiles.REPLY_HEADER not in ask(sandbox, {}).headers
    names = [ask(sandbox, {profiles.REQUEST_HEADER: "1"}).headers[profiles.REPLY_HEADER] for _ in range(3)]
    table = ee.ApiFunction.lookup("Profile.getProfiles").call(ids=names).getInfo().splitlines()
    assert table[0].split() == ["EECU·s", "PeakMem", "Count", "Description"]
    assert [line.split()[2:] for line in table[1:]] == [["3", "Algorithm", "Number.abs"], ["36", "(plumbing)"]]
    assert float(table[1].split()[0]) == pytest.approx(3 * profiles.EECU_S_PER_CALL)


def test_rows_beyond_the_limit_are_merged_and_an_unknown_profile_is_refused():
    name = profiles.profiled(b'"functionName": "a" "functionName": "b" "functionName": "b"', 1_000_000)
    table = profiles.get_profiles([name], "text", 2).splitlines()
    assert len(table) == 3 and table[2].endswith("(...)")
    assert sum(float(line.split()[0]) for line in table[1:]) == pytest.approx(0.053)
    with pytest.raises(Exception, match="Profile 'none' not found"):
        profiles.get_profiles(["none"], None, None)
