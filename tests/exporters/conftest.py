"""A local Earth Engine per test session, and the real client connected to it."""

from __future__ import annotations

from collections.abc import Iterator

import ee
import pytest

from exporters.earth_engine.client import Connection, EarthEngine, connect
from exporters.earth_engine.retry import Patience
from exporters.earth_engine.transport import Transport
from sandbox.service.server import Sandbox
from tests.exporters import tiny_earth

IMPATIENT = Patience(transient_attempts=4, throttled_s=20.0, first_wait_s=0.005, longest_wait_s=0.02)


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[Sandbox]:
    with Sandbox(catalog=tiny_earth.standard()) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running_sandbox: Sandbox) -> Sandbox:
    """The session's server, without faults and with counters at zero."""
    running_sandbox.faults()
    running_sandbox.set_latency(0.0)
    running_sandbox.reset_counters()
    return running_sandbox


@pytest.fixture(scope="session")
def transports() -> list[Transport]:
    """The transport that the fixture `engine` made last: initialising the client again would take most of the time."""
    return []


@pytest.fixture
def engine(sandbox: Sandbox, transports: list[Transport]) -> EarthEngine:
    """The real client, connected, with no memory of other tests; the requests of connecting are not counted."""
    connection = Connection("demo-project", url=sandbox.url, patience=IMPATIENT)
    if not transports or ee.data._get_state().http_transport is not transports[-1] or transports[-1].limiter.stopped:
        transports.append(connect(connection)._transport)
        sandbox.reset_counters()
    return EarthEngine(connection, transports[-1])
