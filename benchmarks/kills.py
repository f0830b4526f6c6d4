"""kill -9 at random over all commands: from sample to pretrain, with a repair, a store that grows, and an older one.

Each command is given again until it comes through, then the next. At the end every file of the corpora, the marks of
their ledgers and the trained encoder must have the bytes of an undisturbed run. Prints a table and one JSON line; ends
with code 1 where that does not hold.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos import sandbox
from pipeline.corpus import Corpus
from pipeline.corpus_folder import LEDGER, MANIFEST, STATISTICS, STORE

ROOT = Path(__file__).resolve().parent.parent
CORPUS, OLDER = "lab", "older"
GIVEN_AGAIN_AT_MOST = 60
LATENCY_S = 0.1
SETTINGS = (
    f"corpus.folder={CORPUS}", "source.concurrency=4", "corpus.size_px=32", "corpus.shard_rows=8", "anchor.batch=10",
    "corpus.modalities=['sentinel2', 'esa_worldcover', 'era5', 'biome', 'eco_region']",
    "pretrain.steps=6", "pretrain.batch_size=4", "pretrain.checkpoint_every=2", "pretrain.image_px=32",
)  # fmt: skip


def _nothing(_: Path) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Step:
    """A command, what happens to the corpora in the working folder before it, and its share of the kills."""

    arguments: tuple[str, ...]
    share: int
    before: Callable[[Path], None] = _nothing

    @property
    def name(self) -> str:
        """How it is shown."""
        return " ".join(word for word in self.arguments if "=" not in word)


@dataclass
class Outcome:
    """`kills` by command, and the files that are not as undisturbed."""

    kills: Counter[str]
    differing: list[str]
    seconds: float


def steps(url: str) -> list[Step]:
    """Everything that is done, in order."""
    return [
        Step(("sample", "demo", f"source.url={url}", "sampling.locations=20", *SETTINGS), 2),
        Step(("anchor", CORPUS), 3),
        Step(("export", CORPUS), 6),
        Step(("retry", CORPUS), 3, _give_up),
        Step(("finalize", CORPUS), 3),
        Step(("verify", CORPUS, "--repair"), 4, _damage),
        Step(("export", CORPUS), 2),
        Step(("finalize", CORPUS), 2),
        Step(("pretrain", CORPUS), 4),
        Step(("sample", CORPUS, "sampling.locations=30"), 2),
        Step(("anchor", CORPUS), 2),
        Step(("export", CORPUS), 3),
        Step(("finalize", CORPUS), 2),
        Step(("upgrade", OLDER), 4, _make_older),
    ]


def _give_up(work: Path) -> None:
    """Leave a shard unfinished, as an export does of which a chip failed."""
    (work / CORPUS / LEDGER / "esa_worldcover" / "00001.json").unlink()
    (work / CORPUS / STORE / "esa_worldcover" / "c" / "1" / "0" / "0" / "0").unlink()


def _damage(work: Path) -> None:
    """Damage a shard, an entry of the ledger, a coordinate, and lose the statistics."""
    store = work / CORPUS / STORE
    shard = store / "sentinel2" / "c" / "0" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    entry = work / CORPUS / LEDGER / "era5" / "00000.json"
    entry.write_bytes(entry.read_bytes()[:40])
    (store / "latitude" / "c" / "0").unlink()
    (work / CORPUS / STATISTICS).unlink()


def _make_older(work: Path) -> None:
    """The same chips in a corpus of the format without checksums."""
    corpus, folder = Corpus.open(work / CORPUS), work / OLDER
    folder.mkdir()
    shutil.copy(corpus.folder / MANIFEST, folder)
    older = Corpus.create(folder, corpus.modalities.values(), corpus.shard_rows, format_version=1)
    for shard in corpus.shards:
        for name in corpus.modalities:
            entry = corpus.ledger.read(name, shard.index)
            older.write(shard, name, corpus.read(name, shard.slice), entry.missing, entry.quality)
    older.finalize()


def launch(step: Step, work: Path) -> subprocess.Popen[str]:
    """The command, running in the working folder, so that both runs see the same relative paths."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "flows.terminal.cli", *step.arguments]
    return subprocess.Popen(
        command, cwd=work, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def undisturbed(plan: list[Step], work: Path) -> list[float]:
    """Do it all; returns the seconds that each command took."""
    return [_come_through(step, work, 0, iter(())) for step in plan]


def _come_through(step: Step, work: Path, kills: int, moments: Iterator[float]) -> float:
    """Give a command again and again, and kill it `kills` times; returns the seconds that the last took."""
    step.before(work)
    for _ in range(GIVEN_AGAIN_AT_MOST):
        began_s = time.monotonic()
        process = launch(step, work)
        if kills:
            end_s = began_s + next(moments)
            while process.poll() is None and time.monotonic() < end_s:
                time.sleep(0.01)
            process.kill()
        _, errors = process.communicate()
        if process.returncode == 0:
            return time.monotonic() - began_s
        if process.returncode != -9:
            raise AssertionError(f"{step.name} ended with code {process.returncode}:\n{errors}")
        kills -= 1
    raise AssertionError(f"{step.name} never came through")


class Tormentor:
    """Does it all again, and kills the commands at moments drawn from the seed."""

    def __init__(self, plan: list[Step], seconds: list[float], kills: int, seed: int) -> None:
        self.plan, self.seconds = plan, seconds
        self._chance = random.Random(seed)  # noqa: S311 - moments of death
        deck = [index for index, step in enumerate(plan) for _ in range(step.share)]
        deck *= 1 + kills // len(deck)
        self._left = Counter(self._chance.sample(deck, kills))
        self.kills: Counter[str] = Counter()

    def run(self, work: Path) -> None:
        """From the first command to the last; kills for which one was too quick go to the next."""
        carried = 0
        for index, step in enumerate(self.plan):
            wanted = self._left[index] + carried
            drawn = [self._chance.uniform(0.3, 1.0) * self.seconds[index] for _ in range(wanted)]
            moments = iter(drawn)
            _come_through(step, work, wanted, moments)
            carried = sum(1 for _ in moments)
            self.kills[step.name] += wanted - carried


def digests(work: Path) -> dict[str, str]:
    """Every file that the commands leave, save the bill and what has clocks in it: of a training run, its encoder."""
    return {
        str(path.relative_to(work)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in work.rglob("*")
        if path.is_file() and path.name != "usage.json" and ("runs" not in path.parts or path.suffix == ".safetensors")
    }


def torment(kills: int, seed: int, folder: Path) -> Outcome:
    """Do it all twice in `folder`, undisturbed and killed, and compare."""
    began_s = time.monotonic()
    with sandbox(LATENCY_S) as url:
        plan, works = steps(url), (folder / "undisturbed", folder / "killed")
        for work in works:
            work.mkdir()
        tormentor = Tormentor(plan, undisturbed(plan, works[0]), kills, seed)
        tormentor.run(works[1])
    wanted, made = (digests(work) for work in works)
    differing = sorted(name for name in made.keys() | wanted.keys() if made.get(name) != wanted.get(name))
    return Outcome(tormentor.kills, differing, time.monotonic() - began_s)


def main() -> int:
    """Run, print and give the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="eight kills")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = torment(8 if options.quick else options.kills, options.seed, Path(folder))
    for name, count in outcome.kills.items():
        print(f"{name:<40}{count:>4} killed")
    for name in outcome.differing[:20]:
        print(f"  differs: {name}")
    kills = outcome.kills.total()
    print(json.dumps({
        "kills": kills, "identical": not outcome.differing, "differing": len(outcome.differing),
        "seconds": round(outcome.seconds),
    }))  # fmt: skip
    return 0 if not outcome.differing and kills else 1


if __name__ == "__main__":
    sys.exit(main())
