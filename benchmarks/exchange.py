"""Corpora out and in, beside what a person would write with the library of the format: `benchmarks/exchange_parts`."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import exchange_parts
from benchmarks.exchange_parts.part import Part


def main() -> None:
    """Print a table of each part, and one JSON line with the figures of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer chips and one round")
    parser.add_argument("--part", action="append", default=[], help="only the part of this file name")
    asked, figures = parser.parse_args(), dict[str, float]()
    for name, measure in _measures():
        if not asked.part or name in asked.part:
            with tempfile.TemporaryDirectory() as folder:
                part = measure(Path(folder), asked.quick)
            print(_table(part))
            figures |= part.figures
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


def _measures() -> Iterator[tuple[str, Callable[[Path, bool], Part]]]:
    for info in pkgutil.iter_modules(exchange_parts.__path__):
        module = importlib.import_module(f"{exchange_parts.__name__}.{info.name}")
        if hasattr(module, "measure"):
            yield info.name, module.measure


def _table(part: Part) -> str:
    lines = [f"## {part.title}", "", "| | seconds | CPU seconds | MB/s |", "|---|---|---|---|"]
    for what, spent in part.rows.items():
        rate = part.megabytes / spent.seconds
        lines.append(f"| {what} | {spent.seconds:.2f} | {spent.cpu_s:.2f} | {rate:.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
