"""The sandbox as a process: selects the catalogue, prints the address, stops with its parent or on a signal."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sandbox.catalogues.catalogs import Catalogs
from sandbox.catalogues.folder import RasterFolder
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


def catalog_of(seed: int, rasters: Path | None = None, index: Path | None = None, planet: bool = True) -> Catalog:
    """The catalogue to serve: the planet of a seed, the rasters of a folder, or both (the rasters have precedence).

    Raises ValueError when the index does not fit its files, OSError when a file does not exist.
    """
    if rasters is None:
        return Planet(seed)
    folder = RasterFolder(rasters, index if index is not None else rasters / "index.toml")
    return Catalogs(folder, Planet(seed)) if planet else folder


def _wait(with_parent: bool) -> None:
    """Wait for SIGTERM, SIGINT or, with `with_parent`, the end of the parent process."""
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    parent = os.getppid()
    while not done.wait(_PARENT_POLL_S if with_parent else None):
        if os.getppid() != parent:
            return


def serve(
    catalog: Catalog,
    port: int = 0,
    latency_s: float = 0.0,
    quotas: Quotas | None = None,
    seed: int = 0,
    faults: Sequence[Fault] = (),
    with_parent: bool = False,
    ready_chips: int = 0,
) -> None:
    """Serve a catalogue until a signal stops it. It handles signals, so call it from the main thread.

    Raises OSError when the port is in use.
    """
    with Sandbox(catalog, latency_s, quotas, seed, port, ready_chips) as sandbox:
        sandbox.faults(*faults)
        try:
            print(_GUIDE.format(url=sandbox.url), flush=True)
        except BrokenPipeError:
            return  # the process that started this one ended before the server was ready
        _wait(with_parent)


def fault_of(text: str) -> Fault:
    """A fault from "kind", "kind=rate" or "endpoint/kind=rate", such as "image:computePixels/503=0.02".

    Raises ValueError when the kind is unknown or the rate is not a number between 0 and 1.
    """
    rule, _, rate = text.partition("=")
    endpoint, _, kind = rule.rpartition("/")
    return Fault(kind, endpoint or "*", float(rate or 1.0))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="A local Earth Engine.")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--seed", type=int, default=0, help="of the planet and of the faults")
    parser.add_argument("--rasters", type=Path, help="a folder of real rasters, served before the planet")
    parser.add_argument("--index", type=Path, help="TOML that says which file is which asset")
    parser.add_argument("--no-planet", action="store_true", help="serve the rasters alone")
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="added to every request")
    parser.add_argument("--no-quotas", action="store_true", help="no limits on rate, concurrency or size")
    parser.add_argument("--concurrent", type=int, default=40, help="requests at once per project")
    parser.add_argument("--rate", type=float, default=100.0, help="requests per second per project")
    parser.add_argument("--fault", action="append", default=[], type=fault_of, metavar="[ENDPOINT/]KIND=RATE")
    parser.add_argument(
        "--ready", type=int, nargs="?", const=VARIANTS, default=0, metavar="VARIANTS",
        help="answer pixel requests from a pool of ready chips",
    )  # fmt: skip
    parser.add_argument("--with-parent", action="store_true", help="stop when the parent process ends")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `python -m sandbox`."""
    options: Any = _parser().parse_args(arguments)
    quotas = OFF if options.no_quotas else Quotas(
        concurrent=options.concurrent, requests_per_s=options.rate, burst=options.rate)  # fmt: skip
    try:
        catalog = catalog_of(options.seed, options.rasters, options.index, not options.no_planet)
    except (OSError, ValueError) as error:
        sys.exit(f"The sandbox cannot start: {error}")
    serve(catalog, options.port, options.latency, quotas, options.seed, options.fault, options.with_parent,
          options.ready)  # fmt: skip
