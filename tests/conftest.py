"""Shared by all tests: nothing leaves the machine, and the real data folder where there is one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["geocorpus.testing"]

# An example takes as long as the machine is busy.
settings.register_profile("geocorpus", deadline=None)
settings.load_profile("geocorpus")
os.environ.update(DO_NOT_TRACK="1", PREFECT_SERVER_ANALYTICS_ENABLED="false", MPLBACKEND="Agg")

SHARED_DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data folder ../shared/data is not here")
    return SHARED_DATA
