"""A raster behind HTTP: its windows alone are asked for, and a server that fails may answer later."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from exporters.files import open_raster
from exporters.files.raster import RasterBands, read_onto
from pipeline.errors import Transient
from pipeline.grid import Grid
from tests.exporters.files.rasters import write

GRID = Grid("EPSG:32631", (501_000.0, 4_999_000.0), (64, 64))


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a folder, and the process that serves it."""
    command = [sys.executable, str(Path(__file__).with_name("range_server.py")), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}", server


@pytest.fixture
def values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    values = np.random.default_rng(0).integers(0, 2**16, (1, 2048, 2048)).astype("uint16")
    write(tmp_path / "a.tif", values, Affine(10, 0, 500_000, 0, -10, 5_000_000), driver="COG", compress="deflate")
    return values


def test_a_remote_file_gives_its_pixels_and_nothing_beside_it_is_asked_for(tmp_path: Path, values: np.ndarray) -> None:
    with served(tmp_path) as (url, server):
        got = read_onto(RasterBands(f"{url}/a.tif", (1,)), GRID, "bilinear")
        out, _ = server.communicate()
    np.testing.assert_array_equal(got, values[:, 100:164, 100:164])
    assert set(out.split()) <= {"HEAD", "GET", "/a.tif"} and len(out.splitlines()) <= 5


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """GDAL's limits as they are, each shortened to a second, and no further attempt."""
    short = {name: 1 if "TIME" in name else value for name, value in open_raster._REMOTE.items()}
    monkeypatch.setattr(open_raster, "_REMOTE", short | {"GDAL_HTTP_MAX_RETRY": 0})


ADVICE = "check that its server answers and has it, and run the same command again"


def test_a_server_that_connects_and_never_answers_is_named(impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/a.tif"
        with pytest.raises(Transient, match=rf"{address} could not be read \(.*\); {ADVICE}") as refused:
            read_onto(RasterBands(address, (1,)), GRID, "nearest")
    assert "\n" not in str(refused.value)


def test_a_server_that_falls_silent_after_the_header_is_named(
    tmp_path: Path, values: np.ndarray, impatient: None
) -> None:
    with served(tmp_path) as (url, server):
        source = RasterBands(f"{url}/a.tif", (1,))
        read_onto(source, GRID, "nearest")
        server.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(Transient, match=rf"{source.path} could not be read \(.*\); {ADVICE}"):
                read_onto(source, Grid("EPSG:32631", (515_000.0, 4_985_000.0), (64, 64)), "nearest")
        finally:
            server.send_signal(signal.SIGCONT)
        server.communicate()


def test_a_server_without_the_file_may_have_it_later(tmp_path: Path) -> None:
    with served(tmp_path) as (url, server):
        with pytest.raises(Transient, match=r"absent.tif could not be read"):
            read_onto(RasterBands(f"{url}/absent.tif", (1,)), GRID, "nearest")
        server.communicate()
