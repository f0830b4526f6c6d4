"""What commands cost that look at a whole corpus of 1.2 million rows: memory and time, beside an older commit.

Each commit makes a corpus of its own (`benchmarks/large_corpus.py`), as formats differ; then every command runs as a
user types it, in a process of its own that imports its own checkout: of the older commit those that are compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.anchoring import ROOT, checked_out

# The last commit whose report kept every chip's footprint: git worktree add takes a tag or branch as well.
BEFORE = "3c2531776b7b359981bf692728ffb11a23251943"
ROWS, QUICK_ROWS = 1_200_000, 20_000
COMPARED = ("report", "status", "verify")
COMMANDS = ("finalize", *COMPARED, "anchor")
MANIFEST = "manifest.parquet"
GIB = 2**30
Figures = dict[str, dict[str, float]]


def made(checkout: Path, folder: Path, rows: int) -> Path:
    """The corpus that `checkout` makes, in `folder`; one that is whole already is used again."""
    whole = folder.with_suffix(f".{rows}")
    if not whole.exists():
        script = str(ROOT / "benchmarks" / "large_corpus.py")
        ran(checkout, [sys.executable, "-P", script, str(folder), str(rows)])
        whole.touch()
    return folder


def measured(label: str, checkout: Path, folder: Path, commands: Sequence[str]) -> Figures:
    """Peak GiB, seconds and CPU seconds of each command, and of imports alone; prints a line of each."""
    figures = {}
    for name in ("imports", *commands):
        with _without_manifest(folder) if name == "anchor" else _as_it_is():
            figures[name] = ran(checkout, _command(name, folder))
        print(f"{label:<8}{name:<10}" + "".join(f"{value:>10.2f}" for value in figures[name].values()), flush=True)
    return figures


def _command(name: str, folder: Path) -> list[str]:
    if name == "imports":
        return [sys.executable, "-P", "-c", "import exporters.report.report"]
    return [sys.executable, "-P", "-m", "flows.terminal.cli", name, str(folder)]


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


@contextmanager
def _without_manifest(folder: Path) -> Iterator[None]:
    """Let `anchor` freeze the manifest again, from the answers that were kept; exits when it becomes another one."""
    before = _sha256(folder / MANIFEST)
    (folder / MANIFEST).unlink()
    yield
    if _sha256(folder / MANIFEST) != before:
        sys.exit("anchor froze another manifest than before.")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def ran(checkout: Path, command: Sequence[str]) -> dict[str, float]:
    """Run to the end with the code of `checkout`, and say what it took; exits when it failed."""
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    process = subprocess.Popen(
        command, cwd=checkout, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed in {checkout}: {said}")
    return {
        "peak_gib": usage.ru_maxrss * 1024 / GIB, "seconds": time.perf_counter() - started,
        "cpu_s": usage.ru_utime + usage.ru_stime,
    }  # fmt: skip


def compared(folder: Path, rows: int, base: str) -> dict[str, Any]:
    """Both commits, one after the other."""
    with checked_out(base, folder / "checkout") as checkout:
        before = measured("before", checkout, made(checkout, folder / "before", rows), COMPARED)
    corpus = made(ROOT, folder / "now", rows)
    now = measured("now", ROOT, corpus, COMMANDS)
    return {
        "rows": rows,
        **{name: {key: round(value, 3) for key, value in now[name].items()} for name in now},
        "before": {name: {key: round(value, 3) for key, value in before[name].items()} for name in before},
        "html_mb": round((corpus / "report.html").stat().st_size / 1e6, 2),
        "worst_gib": round(max(figures["peak_gib"] for figures in now.values()), 3),
        "report_x_today": round(now["report"]["peak_gib"] / before["report"]["peak_gib"], 4),
        "verify_x_today": round(now["verify"]["cpu_s"] / before["verify"]["cpu_s"], 4),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, then one JSON object."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS:,} rows")
    options.add_argument("--rows", type=int, help=f"instead of {ROWS:,}")
    options.add_argument("--base", default=BEFORE, help="the commit to compare with")
    options.add_argument("--keep", type=Path, help="a folder for the corpora; those that are there are used again")
    chosen = options.parse_args(arguments)
    rows = chosen.rows or (QUICK_ROWS if chosen.quick else ROWS)
    print(f"{rows:<18,}{'GiB':>10}{'seconds':>10}{'CPU s':>10}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (chosen.keep or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        print(json.dumps(compared(folder, rows, chosen.base)))


if __name__ == "__main__":
    main()
