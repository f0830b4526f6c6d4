"""A search over a million embeddings: beside reading and widening their file once, and beside FAISS's flat index.

    python -m benchmarks.search [--quick] [--rows 1200000] [--width 512] [--rounds 7] [--folder FOLDER]

Writes made vectors (some thousand clusters) as one float16 file, 1.2 GB, in a temporary folder, and reads it once: from
then on it is in the page cache. Then, in turn: all blocks of the file widened to float32 into one buffer that stays in
the cache, by as many threads as the search has (the least that anyone can do who reads float16); a query for the 20
nearest; FAISS's flat index, whose float32 vectors are in memory before (where it is installed); and the whole file as
one float32 array, which is what a plain program makes of it. The last line is one JSON object with ratios of medians:
`x_read` to reading and widening, `x_faiss` to FAISS (null where it is not installed).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.evaluate.search.faiss_index import FaissIndex
from training.evaluate.search.nearest import BLOCK_ROWS, nearest
from training.evaluate.search.unit_rows import unit_rows

_K, _CLUSTERS, _MADE_ROWS = 20, 4096, 20_000


def make(path: Path, rows: int, width: int) -> None:
    """Write vectors of length 1 (rows, width) float16 around the middles of clusters."""
    draws = np.random.default_rng(0)
    middles = draws.standard_normal((_CLUSTERS, width), dtype=np.float32)
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(rows, width))
    for start in range(0, rows, _MADE_ROWS):
        count = min(_MADE_ROWS, rows - start)
        noise = draws.standard_normal((count, width), dtype=np.float32)
        file[start : start + count] = unit_rows(middles[draws.integers(_CLUSTERS, size=count)] + noise)
    file.flush()


def widen(matrix: NDArray[np.float16]) -> None:
    """Read every block once and make float32 of it, in all threads."""
    threads = torch.get_num_threads()
    edges = np.linspace(0, len(matrix), threads + 1).astype(int).tolist()

    def part(span: tuple[int, int]) -> None:
        buffer = torch.empty((BLOCK_ROWS, matrix.shape[1]))
        for start in range(*span, BLOCK_ROWS):
            block = torch.from_numpy(matrix[start : min(start + BLOCK_ROWS, span[1])])
            buffer[: len(block)].copy_(block)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, zip(edges[:-1], edges[1:], strict=True)))


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measured(matrix: NDArray[np.float16], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, in turn; the query is another in every round."""
    faiss = FaissIndex(matrix) if find_spec("faiss") else None
    result: dict[str, list[float]] = {}
    for turn in range(rounds + 1):
        query = np.asarray(matrix[turn * 7919 % len(matrix)][None], np.float32)
        ways: dict[str, Callable[[], Any]] = {
            "read and widen": lambda: widen(matrix),
            "search": lambda query=query: nearest(matrix, query, _K),  # type: ignore[misc]
        }
        if faiss is not None:
            ways["FAISS flat"] = lambda query=query: faiss.nearest(query, _K)  # type: ignore[misc]
            assert faiss.nearest(query, _K)[0].rows.tolist() == nearest(matrix, query, _K)[0].rows.tolist()
        if turn < 2:
            ways["whole as float32"] = lambda: np.asarray(matrix, np.float32)
        for name, work in ways.items():
            result.setdefault(name, []).append(seconds(work))
    return {name: each[1:] for name, each in result.items()}  # the first round warms up


def show(times: dict[str, list[float]]) -> None:
    """The table."""
    load = os.getloadavg()[0]
    print(
        f"| in the page cache, load {load:.1f} | seconds | least to most | of reading and widening |\n|---|---|---|---|"
    )
    for name, each in times.items():
        ratio = median(each) / median(times["read and widen"])
        print(f"| {name} | {median(each):.3f} | {min(each):.3f} to {max(each):.3f} | {ratio:.2f} |")
    if "FAISS flat" not in times:
        print("FAISS is not installed.")


def main() -> None:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="40,000 rows, 3 rounds: shows that it runs")
    parser.add_argument("--rows", type=int, default=1_200_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="keeps the file; a temporary one by default")
    given = parser.parse_args()
    rows, rounds = (40_000, 3) if given.quick else (given.rows, given.rounds)
    with tempfile.TemporaryDirectory() as scratch:
        path = (given.folder or Path(scratch)) / f"vectors-{rows}-{given.width}.npy"
        if not path.exists():
            make(path, rows, given.width)
        times = measured(np.load(path, mmap_mode="c"), rounds)
    show(times)
    ours = median(times["search"])
    faiss = times.get("FAISS flat")
    figures = {
        "x_read": round(ours / median(times["read and widen"]), 2),
        "x_faiss": round(ours / median(faiss), 2) if faiss else None, "rows": rows, "width": given.width,
    }  # fmt: skip
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
