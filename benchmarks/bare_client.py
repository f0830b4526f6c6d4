"""The client alone, in a process of its own: as many threads that ask for the pixels of the same chips and read them.

    python -m benchmarks.bare_client URL MANIFEST CHIPS THREADS [MODALITY...]

prints the CPU milliseconds of a chip: graph, request, answer, and no limits, checks, files or compression. What the
process takes to start, and its first requests, are not counted.
"""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ee
import numpy as np

from exporters import catalog
from exporters.earth_engine.client import Connection, connect
from exporters.earth_engine.compute_pixels import grid_request
from exporters.pull import encoding
from exporters.sources import Pixels, source_of
from pipeline.chip import Chip
from pipeline.manifest import Manifest
from pipeline.modality import Modality


def measured(url: str, manifest: Path, chips: int, threads: int, names: Sequence[str]) -> float:
    """CPU milliseconds a chip, from a process that ends with the call."""
    arguments = (url, str(manifest), str(chips), str(threads), *names)
    command = [sys.executable, "-m", "benchmarks.bare_client", *arguments]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


def image_of(chip: Chip, layers: Sequence[Modality]) -> ee.Image:
    """Every layer that the chip can have, as the export asks for it."""
    sources = [(layer, source_of(layer)) for layer in layers]
    return ee.Image.cat([
        encoding.stored_image(layer, source, chip)
        for layer, source in sources
        if isinstance(source, Pixels) and not source.absent(chip)
    ])  # fmt: skip


def _initialise(url: str) -> None:
    # Twice, because the first transport is ours: then the client uses its own.
    connect(Connection("bare", url=url))
    ee.Reset()
    ee.Initialize(None, url=url, project="bare")


def main() -> None:
    """Ask for all chips, and print what one took."""
    url, path, chips, threads, *names = sys.argv[1:]
    _initialise(url)
    manifest = Manifest.read(Path(path))
    chosen = catalog.bound(catalog.modalities(names or None), manifest)
    layers = [layer for layer in chosen if isinstance(source_of(layer), Pixels)]

    def pull(row: int) -> None:
        chip = manifest[row]
        request = {"expression": image_of(chip, layers), "fileFormat": "NPY", "grid": grid_request(chip.grid)}
        np.load(io.BytesIO(ee.data.computePixels(request)))

    with ThreadPoolExecutor(int(threads)) as pool:
        list(pool.map(pull, range(int(threads))))
        began_s = time.process_time()
        list(pool.map(pull, range(int(chips))))
    print(1e3 * (time.process_time() - began_s) / int(chips))


if __name__ == "__main__":
    main()
