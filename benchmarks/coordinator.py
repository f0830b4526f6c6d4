"""What a run costs that has little left to do in a large corpus: memory, finding what is missing, overhead per shard.

A few hundred places are anchored on the sandbox and repeated to 1.2 million rows under other ids; most shards of all
built-in modalities are marked done, with entries and objects as an export leaves them, only smaller. Then the real
`geocorpus export` pulls the rest in a process of its own. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks import service
from flows import stages
from flows.settings import SAVED_AS, load
from pipeline import statistics
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.dead_letters import DeadLetters
from pipeline.ledger import Entry, Ledger, with_checksum
from pipeline.lock import locked
from pipeline.manifest import COLUMNS, SCHEMA, Manifest
from pipeline.modality import Modality
from pipeline.progress import Silent
from pipeline.rows import HeldRows
from pipeline.shard import Shard

ROWS, QUICK_ROWS = 1_200_000, 60_000
SHARD_ROWS, SIZE_PX = 512, 8
PLACES = 300
AT_ONCE = 20
LATENCY_S = "0.25"
LEFT = 2  # shards that are not done: pulled once with a stopwatch, and once by the command
GIB = 2**30
Figures = dict[str, float]


def overrides(folder: Path, url: str) -> list[str]:
    """Settings of the benchmark's corpus."""
    return [
        f"corpus.folder={folder}", f"source.url={url}", "source.project=benchmark", f"corpus.size_px={SIZE_PX}",
        f"corpus.shard_rows={SHARD_ROWS}", f"source.concurrency={AT_ONCE}", "split.buffer_m=0",
    ]  # fmt: skip


def anchored(folder: Path, url: str) -> Manifest:
    """A manifest of a few hundred real places of the sandbox."""
    settings = load("demo", [*overrides(folder, url), f"sampling.locations={PLACES}", "sampling.strategy=land"])
    with stages.earth_engine(settings) as engine:
        stages.sample(settings, engine, Silent())
        stages.anchor(settings, engine, Silent())
    return Manifest.read(folder / MANIFEST)


def repeated(manifest: Manifest, count: int) -> Manifest:
    """The same chips again and again, `count` in all, under ids of their own and, but for the last, scenes of none."""
    few = pa.Table.from_pandas(manifest.frame[list(COLUMNS)], schema=SCHEMA, preserve_index=False)
    table = pa.concat_tables([few] * -(-count // len(few))).slice(0, count)
    ids = pa.array([f"{number:013x}" for number in range(count)])
    return Manifest(HeldRows(_with_scenes(table.set_column(0, "id", ids), count - LEFT * SHARD_ROWS)))


def _with_scenes(table: pa.Table, until: int) -> pa.Table:
    """Scene ids that differ from row to row, as they do on Earth, in rows before `until`: nobody asks for those."""
    for name in ("anchor_id", "ascending_id", "descending_id"):
        texts = table.column(name).slice(0, until).to_pylist()
        other = pa.array([text and f"{text[:-8]}{row:08d}" for row, text in enumerate(texts)], pa.string())
        column = pa.chunked_array([other, *table.column(name).slice(until).chunks])
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def mark_done(corpus: Corpus) -> int:
    """Entries and objects for every shard but the last few, as an export leaves them; returns how many."""
    done = corpus.shards[:-LEFT]
    for modality in corpus.modalities.values():
        text = _entry_text(corpus, modality)
        for shard in done:
            _write(corpus.ledger.path(modality.name, shard.index), with_checksum(_of_shard(text, shard)))
            _write(corpus.object_path(modality.name, shard), b"an object")  # that it exists is all that is looked at
    return len(done) * len(corpus.modalities)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


_PLACE = 99_999


def _entry_text(corpus: Corpus, modality: Modality) -> str:
    """An entry with statistics of random values, for a shard that there is not."""
    shape = (4, *modality.shape(SIZE_PX))
    random = np.random.default_rng(0)
    block = random.choice(modality.codes, shape) if modality.categories else random.integers(1, 90, shape)
    groups = ["l1c", "l2a"] * 2 if modality.statistics_by else [statistics.EVERYTHING] * 4
    entry = Entry(
        _PLACE, modality.name, (_PLACE, _PLACE), corpus.manifest.digest, modality.digest, "sha256:0",
        {_PLACE: "no scene within 30 days"}, {}, statistics.summarise(modality, block.astype(modality.dtype), groups),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder))
        ledger.mark(entry)
        return re.sub(r',\n "text_crc32c": "[0-9a-f]{8}"', "", ledger.path(modality.name, _PLACE).read_text())


def _of_shard(text: str, shard: Shard) -> str:
    rows = f'"rows": [\n  {shard.start},\n  {shard.stop}\n ]'
    text = text.replace(f'"rows": [\n  {_PLACE},\n  {_PLACE}\n ]', rows).replace(f'"{_PLACE}"', f'"{shard.start}"')
    return text.replace(f'"shard": {_PLACE}', f'"shard": {shard.index}')


def build(folder: Path, url: str, count: int) -> Figures:
    """The large corpus in `folder`; how many (shard, modality) are marked done, and seconds to write the manifest."""
    few = anchored(folder / "few", url)
    many = repeated(few, count)
    started = time.perf_counter()
    many.write(folder / "large" / MANIFEST)
    written_s = time.perf_counter() - started
    settings = load(str(folder / "few" / SAVED_AS), [f"corpus.folder={folder / 'large'}"])
    corpus, _ = stages.lay_out(settings)
    return {"marked": mark_done(corpus), "written_s": written_s}


def find_missing(folder: Path) -> Figures:
    """Open the corpus and ask what is missing, as a run does first."""
    before = _peak_gib()
    started = time.perf_counter()
    corpus = Corpus.open(folder)
    missing = corpus.missing()
    seconds = time.perf_counter() - started
    assert len(missing) == LEFT and all(len(names) == len(corpus.modalities) for names in missing.values())
    return {"seconds": seconds, "peak_gib": _peak_gib(), "imports_gib": before}


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


@dataclass
class Stopwatch:
    """Seconds spent in functions that are the coordinator's own, however deep they are called from one another."""

    seconds: float = 0.0
    calls: dict[str, float] = field(default_factory=dict)
    _inside: bool = False

    @contextmanager
    def watching(self, *methods: tuple[type, str]) -> Iterator[None]:
        """Time these methods of these classes until the end of the block."""
        data = [(owner, name, getattr(owner, name)) for owner, name in methods]
        for owner, name, method in data:
            setattr(owner, name, self._timed(f"{owner.__name__}.{name}", method))
        try:
            yield
        finally:
            for owner, name, method in data:
                setattr(owner, name, method)

    def _timed(self, label: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            if self._inside:
                return method(*arguments, **named)
            self._inside, started = True, time.perf_counter()
            try:
                return method(*arguments, **named)
            finally:
                took, self._inside = time.perf_counter() - started, False
                self.seconds += took
                self.calls[label] = self.calls.get(label, 0.0) + took

        return timed


def pull_rest(folder: Path) -> Figures:
    """Export what is left, with a stopwatch on what is there because there are many shards.

    `own_s` is of one shard: what is timed inside of it, and its part of what a run does once, over all shards.
    `marked_s` is what its entries take to be durable: a part of the shard's own write, however large the corpus.
    """
    settings = load(str(folder), ["cluster.shards_at_once=1"])
    watch, marking, shard_s = Stopwatch(), Stopwatch(), list[float]()

    def timed(_: str, pull: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        with watch.watching(*_OWN), marking.watching((Ledger, "mark")):
            report = pull()
        shard_s.append(time.perf_counter() - began)
        first.append(began)
        return report

    first: list[float] = []
    with locked(settings.folder), stages.earth_engine(settings) as engine:
        started = time.perf_counter()
        stages.export(settings, engine, Silent(), timed)
        once_s = time.perf_counter() - started - sum(shard_s)
    for name, seconds in watch.calls.items():
        print(f"  {name}: {1e3 * seconds / len(shard_s):.1f} ms a shard", file=sys.stderr)
    shards = -(-len(Manifest.read(folder / MANIFEST)) // SHARD_ROWS)
    mean_s = sum(shard_s) / len(shard_s)
    own_s = watch.seconds / len(shard_s) + once_s / shards
    marked_s = marking.seconds / len(shard_s)
    return {"open_s": first[0] - started, "shard_s": mean_s, "own_s": own_s, "marked_s": marked_s}


_OWN = (
    (Manifest, "__getitem__"), (Manifest, "chips"), (Manifest, "column"), (Ledger, "done"),
    (DeadLetters, "record"), (DeadLetters, "read"), (Corpus, "finished"), (Corpus, "missing"),
)  # fmt: skip


def undo_rest(folder: Path) -> None:
    """Declare the last shards undone again."""
    corpus = Corpus.open(folder)
    for name in corpus.modalities:
        for shard in corpus.shards[-LEFT:]:
            corpus.ledger.path(name, shard.index).unlink()
            corpus.store.delete(corpus.object_key(name, shard))


def run_command(folder: Path) -> Figures:
    """`geocorpus export` for what is left: seconds, and peak memory of its process."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "flows.terminal.cli", "export", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said
    return {"seconds": time.perf_counter() - started, "peak_gib": usage.ru_maxrss * 1024 / GIB}


def alone(work: Callable[..., Figures], *arguments: Any) -> Figures:
    """Run in a process of its own, so that its memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def table(rows: Sequence[tuple[str, str]]) -> None:
    """Print two columns."""
    for name, value in rows:
        print(f"{name:<52}{value:>14}")


def main() -> None:
    """Measure, print and give the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS:,} rows in place of {ROWS:,}")
    count = QUICK_ROWS if parser.parse_args().quick else ROWS
    with tempfile.TemporaryDirectory() as temporary, service.running("--latency", LATENCY_S, "--ready") as sandbox:
        folder = Path(temporary)
        built = alone(build, folder, sandbox.url, count)
        result = alone(find_missing, folder / "large")
        pulled = alone(pull_rest, folder / "large")
        undo_rest(folder / "large")
        run = run_command(folder / "large")
        assert not Corpus.open(folder / "large").missing()
    show(count, built, result, pulled, run)


def show(count: int, built: Figures, found: Figures, pulled: Figures, run: Figures) -> None:
    """The table, and the JSON line."""
    shards = -(-count // SHARD_ROWS)
    table([
        ("rows / shards", f"{count:,} / {shards:,}"),
        ("(shard, modality) marked done", f"{built['marked']:,.0f}"),
        ("writing the manifest and its digest, s", f"{built['written_s']:.1f}"),
        ("finding what is missing, s", f"{found['seconds']:.2f}"),
        ("  peak memory of that, GiB (imports alone)", f"{found['peak_gib']:.2f} ({found['imports_gib']:.2f})"),
        ("from start to the first shard, s", f"{pulled['open_s']:.2f}"),
        ("a shard, s", f"{pulled['shard_s']:.1f}"),
        ("  of which the coordinator, ms", f"{1e3 * pulled['own_s']:.0f}"),
        ("  of which its entries, made durable, ms", f"{1e3 * pulled['marked_s']:.0f}"),
        ("geocorpus export of two shards, s", f"{run['seconds']:.1f}"),
        ("  peak memory, GiB", f"{run['peak_gib']:.2f}"),
    ])  # fmt: skip
    print(json.dumps({
        "rows": count,
        "shards": shards,
        "seconds_to_find_missing": round(found["seconds"], 2),
        "peak_gib": round(run["peak_gib"], 3),
        "overhead_share": round(pulled["own_s"] / pulled["shard_s"], 5),
        "seconds_to_first_shard": round(pulled["open_s"], 2),
        "chip_px": SIZE_PX,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
