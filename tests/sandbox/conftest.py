"""A running sandbox of the shared catalogue, with the real client pointed at it."""

from __future__ import annotations

import pytest

from sandbox.service.quotas import OFF
from sandbox.service.server import Sandbox
from tests.sandbox import world


@pytest.fixture(scope="module")
def running():
    with Sandbox(world.catalog(), quotas=OFF) as sandbox:
        world.connect(sandbox)
        yield sandbox


@pytest.fixture
def sandbox(running):
    if not world.connected_to(running):
        world.connect(running)
    running.faults()
    running.reset_counters()
    return running
