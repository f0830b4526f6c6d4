"""A corpus of 2,000 chips with one request of twenty failing in every way the sandbox knows: the same bytes as without.

    python -m benchmarks.faults [--quick]

Two corpora of the same places and every modality are exported from one sandbox: one without faults, one with 5 % of
the requests at every endpoint refused (429), broken (500, 503), too much (memory, time), slow, cut off, hung up on, or
answered in restricted mode. Compared is every file of the store, the ledger, the manifest and the statistics. Pixels
are ready chips, so that 2,000 of them take minutes; a place gets the same in whatever parts it is asked for.
The last line is one JSON object: chips, files, differing, faults, requests, requests_without, seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import places, service
from benchmarks.service import Service
from exporters.earth_engine.client import Connection, connect
from flows import stages
from flows.settings import Settings, parse
from pipeline.corpus import Corpus
from pipeline.corpus_folder import LEDGER, MANIFEST, STATISTICS, STORE
from pipeline.manifest import Manifest
from pipeline.progress import Silent

SHARE = 0.05
KINDS = ("429", "500", "503", "memory", "timeout", "slow", "truncated", "reset", "restricted")
SIZE_PX = 32
_SLOW_S = 2.0


@dataclass(frozen=True)
class Made:
    """One corpus: digests of its files by their names in the folder, and what the sandbox counted."""

    files: dict[str, str]
    requests: int
    faults: dict[str, int]
    seconds: float
    corpus: Corpus


def rules() -> list[dict[str, Any]]:
    """Every kind at every endpoint, together `SHARE` of the requests.

    "missing" is not among them: that an asset is gone is no failure but an answer, and becomes a recorded reason.
    """
    return [{"kind": kind, "rate": SHARE / len(KINDS), "seconds": _SLOW_S} for kind in KINDS]


def settings_of(url: str, folder: Path, rows: int) -> Settings:
    """What a user would write; short waits, so that the minutes are not spent on them."""
    return parse({
        "corpus": {"folder": str(folder), "size_px": SIZE_PX, "shard_rows": rows},
        "source": {"url": url, "concurrency": 20},
    })  # fmt: skip


def made(sandbox: Service, manifest: Manifest, folder: Path, rows: int, faults: list[dict[str, Any]]) -> Made:
    """Export the manifest and finish the corpus, running the same command again as long as it asks for that."""
    manifest.write(folder / MANIFEST)
    settings = settings_of(sandbox.url, folder, rows)
    sandbox.reset()
    began_s = time.monotonic()
    with stages.earth_engine(settings) as engine:
        sandbox.faults(faults, seed=1)
        stages.export(settings, engine, Silent())
        sandbox.faults([])
    counters, corpus = sandbox.counters(), Corpus.open(folder)
    corpus.finalize()
    files = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in compared(folder)}
    return Made(files, counters["total"], counters["faults"], time.monotonic() - began_s, corpus)


def compared(folder: Path) -> Iterator[Path]:
    """Every file of the store, the ledger, the manifest and the statistics."""
    yield from (folder / name for name in (MANIFEST, STATISTICS))
    for part in (STORE, LEDGER):
        yield from (path for path in sorted((folder / part).rglob("*")) if path.is_file())


def differing(one: Made, other: Made) -> list[str]:
    """Names of files that are not the same in both."""
    names = one.files.keys() | other.files.keys()
    return sorted(name for name in names if one.files.get(name) != other.files.get(name))


def unaccounted(corpus: Corpus) -> int:
    """(Chip, modality) pairs that have neither pixels nor a reason: those that are all nodata without one."""
    return sum(_silent(corpus, name) for name in corpus.modalities)


def _silent(corpus: Corpus, name: str) -> int:
    modality, count = corpus.modality(name), 0
    for entry in corpus.entries(name):
        block = corpus.read(name, slice(*entry.rows))
        known = modality.valid(block).reshape(len(block), -1).any(axis=1)
        count += sum(int(row) not in entry.missing for row in np.flatnonzero(~known) + entry.rows[0])
    return count


def main() -> None:
    """Make both, compare, print and give the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 chips in place of 2000")
    count = 200 if parser.parse_args().quick else 2000
    with service.running("--ready") as sandbox, tempfile.TemporaryDirectory() as folder:
        engine = connect(Connection("places", url=sandbox.url))
        base = places.anchored(engine, Path(folder) / "places", 64, SIZE_PX)
        manifest, rows = places.neighbours(base, count), max(16, count // 16)
        data = made(sandbox, manifest, Path(folder) / "plain", rows, [])
        struck = made(sandbox, manifest, Path(folder) / "struck", rows, rules())
        wrong, silent = differing(data, struck), unaccounted(struck.corpus)
    total = sum(struck.faults.values())
    print(f"{count:,} chips, {len(data.files)} files compared, {len(wrong)} differ: {wrong[:5]}")
    print(f"{total} faults in {struck.requests:,} requests ({total / struck.requests:.1%}); {data.requests:,} without")
    print("  " + ", ".join(f"{kind} {number}" for kind, number in sorted(struck.faults.items())))
    print(f"{silent} (chip, modality) pairs have neither pixels nor a reason")
    print(f"{struck.seconds:.0f} s, {data.seconds:.0f} s without")
    print(json.dumps({
        "chips": count, "files": len(data.files), "differing": len(wrong), "unaccounted": silent, "faults": total,
        "requests": struck.requests, "requests_without": data.requests, "seconds": round(struck.seconds, 1),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
