"""Tests of code that uses Earth Engine, without an account and a network: a pytest plugin with the fixture
`earth_engine`, for any project (`pytest_plugins = ["geocorpus.testing"]` in the top `conftest.py`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sandbox.service.server import Sandbox

_MARKER = "earth_engine(**options): the options of the fixture earth_engine, see geocorpus.testing.local_earth_engine"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", _MARKER)


@contextmanager
def local_earth_engine(
    *,
    seed: int = 0,
    kind: bool = False,
    faults: Sequence[str] = (),
    rasters: str | Path | None = None,
    index: str | Path | None = None,
    latency_s: float = 0.0,
    project: str = "test",
) -> Iterator[Sandbox]:
    """Serve a local Earth Engine on a free port and initialise `ee` with it; both end with the block.

    `seed` is of the planet and of the faults. A `kind` service has no limits and no quotas; otherwise they are Earth
    Engine's. `faults` are texts such as "image:computePixels/503=0.02" or "429=0.1". `rasters` is a folder of rasters
    that are served before the planet, and `index` says which file is which asset (by default its index.toml).

    The client is plain, without retries of its own, and its state is global: one block at a time.

    Raises ValueError for an unknown fault, or an index that does not fit its files; OSError when a file is not there.
    """
    from exporters.earth_engine import local_client
    from sandbox.service.main import catalog_of, fault_of, limits_of
    from sandbox.service.quotas import OFF, Quotas
    from sandbox.service.server import Sandbox

    folder, table = (None if path is None else Path(path) for path in (rasters, index))
    catalog = catalog_of(seed, folder, table)
    quotas = OFF if kind else Quotas()
    with Sandbox(catalog, latency_s, quotas, seed, limits=limits_of(kind)) as sandbox:
        with local_client.initialised(sandbox.url, project):
            sandbox.faults(*[fault_of(fault) for fault in faults])
            yield sandbox


@pytest.fixture
def earth_engine(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A local Earth Engine with which `ee` is initialised; `@pytest.mark.earth_engine(...)` gives its options.

    It has `url`, `counters()`, `faults(...)` and `set_latency(seconds)`.
    """
    marker = request.node.get_closest_marker("earth_engine")
    with local_earth_engine(**(marker.kwargs if marker else {})) as sandbox:
        yield sandbox
