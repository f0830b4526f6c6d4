"""The sandbox as a process: selects the catalogue, prints the address, stops with its parent or on a signal."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sandbox.catalogues.catalogs import Catalogs
from sandbox.catalogues.folder import RasterFolder
from sandbox.limits import EARTH_ENGINE, KIND, Limits
from sandbox.planet import Planet
from sandbox.raster.stored import Catalog
from sandbox.service.faults import Fault
from sandbox.service.quotas import OFF, Quotas
from sandbox.service.ready import VARIANTS
from sandbox.service.server import Sandbox

_PARENT_POLL_S = 0.5
_GUIDE = """Earth Engine sandbox at {url}
Point the client at it:
  import ee, google.oauth2.credentials
  ee.Initialize(google.oauth2.credentials.Credentials(token="static"), url="{url}", project="demo")
Counters: GET {url}/sandbox/counters    Faults: POST {url}/sandbox/faults    Stop: Ctrl-C
"""


planet_of = cache(Planet)  # a planet takes a second to make, and tests start many services


def catalog_of(seed: int, rasters: Path | None = None, index: Path | None = None, planet: bool = True) -> Catalog:
    """The catalogue to serve: the planet of a seed, the rasters of a folder, or both (the rasters have precedence).

    Raises ValueError when the index cannot be read or does not fit its files, or there is nothing to serve, OSError
    when a file does not exist.
    """
    if rasters is None:
        if index is not None:
            raise ValueError("an index alone serves nothing; say where its rasters are, with --rasters")
        if not planet:
            raise ValueError("without the planet there are no assets; say where the rasters are, with --rasters")
        return planet_of(seed)
    folder = RasterFolder(rasters, index if index is not None else rasters / "index.toml")
    return Catalogs(folder, planet_of(seed)) if planet else folder


def _wait(parent: int | None) -> None:
    """Wait for SIGTERM, SIGINT or, given the id of the parent process, its end, which may have been before."""
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    while parent is None or os.getppid() == parent:
        if done.wait(None if parent is None else _PARENT_POLL_S):
            return


def limits_of(kind: bool) -> Limits:
    """The limits of one request: none of a kind service, or those of Earth Engine."""
    return KIND if kind else EARTH_ENGINE


def spare_the_collector() -> None:
    """Look for garbage rarely, in a process that only serves.

    A request makes tens of thousands of small objects, and the planet keeps more: to look through them again and again
    takes a twentieth of a chip's CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def why(error: Exception) -> str:
    """What an error says, with the file before it, and without a full stop."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error).rstrip(".")


class PortTaken(OSError):
    """Another program listens there, or only the administrator may."""


def serve(
    catalog: Catalog,
    port: int = 0,
    latency_s: float = 0.0,
    quotas: Quotas | None = None,
    seed: int = 0,
    faults: Sequence[Fault] = (),
    parent: int | None = None,
    ready_chips: int = 0,
    limits: Limits = EARTH_ENGINE,
) -> None:
    """Serve a catalogue until a signal stops it, or the end of the process `parent`, the one that started this one.

    It handles signals, so call it from the main thread.

    Raises `PortTaken`.
    """
    try:
        made = Sandbox(catalog, latency_s, quotas, seed, port, ready_chips, limits)
    except OSError as error:
        raise PortTaken(f"it cannot listen at 127.0.0.1:{port} ({error.strerror}); give another --port") from error
    spare_the_collector()
    with made as sandbox:
        sandbox.faults(*faults)
        try:
            print(_GUIDE.format(url=sandbox.url), flush=True)
        except BrokenPipeError:
            return  # the process that started this one ended before the server was ready
        _wait(parent)


def fault_of(text: str) -> Fault:
    """A fault from "kind", "kind=rate" or "endpoint/kind=rate", such as "image:computePixels/503=0.02".

    Raises ValueError when the kind is unknown or the rate is not a number between 0 and 1.
    """
    rule, _, rate = text.partition("=")
    endpoint, _, kind = rule.rpartition("/")
    return Fault(kind, endpoint or "*", float(rate or 1.0))


def port_of(text: str) -> int:
    """A number from 0 to 65535; raises `argparse.ArgumentTypeError` otherwise."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give a number from 0 to 65535")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="A local Earth Engine.")
    parser.add_argument("--port", type=port_of, default=0, help="0: any free port")
    parser.add_argument("--seed", type=int, default=0, help="of the planet and of the faults")
    parser.add_argument("--rasters", type=Path, help="a folder of real rasters, served before the planet")
    parser.add_argument("--index", type=Path, help="TOML that says which file is which asset")
    parser.add_argument("--no-planet", action="store_true", help="serve the rasters alone")
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="added to every request")
    parser.add_argument("--no-quotas", action="store_true", help="no limits on rate, concurrency or size")
    parser.add_argument(
        "--kind", action="store_true",
        help="no limits of one request: computing time, sizes, aggregations, scopes of tokens",
    )  # fmt: skip
    parser.add_argument("--concurrent", type=int, default=40, help="requests at once per project")
    parser.add_argument("--rate", type=float, default=100.0, help="requests per second per project")
    parser.add_argument("--fault", action="append", default=[], type=fault_of, metavar="[ENDPOINT/]KIND=RATE")
    parser.add_argument(
        "--ready", type=int, nargs="?", const=VARIANTS, default=0, metavar="VARIANTS",
        help="answer pixel requests from a pool of ready chips",
    )  # fmt: skip
    # The parent is known by its id from the first moment: asked for later, it may be whoever adopted this process.
    parser.add_argument(
        "--with-parent", type=int, nargs="?", const=os.getppid(), metavar="PID",
        help="stop when the parent process ends, which has this id",
    )  # fmt: skip
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `python -m sandbox`."""
    options: Any = _parser().parse_args(arguments)
    quotas = OFF if options.no_quotas else Quotas(
        concurrent=options.concurrent, requests_per_s=options.rate, burst=options.rate)  # fmt: skip
    try:
        catalog = catalog_of(options.seed, options.rasters, options.index, not options.no_planet)
    except (OSError, ValueError) as error:
        sys.exit(f"The sandbox cannot start: {why(error)}.")
    try:
        serve(catalog, options.port, options.latency, quotas, options.seed, options.fault, options.with_parent,
              options.ready, limits_of(options.kind))  # fmt: skip
    except PortTaken as error:
        sys.exit(f"The sandbox cannot start: {error}.")
