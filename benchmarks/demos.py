"""What the demo of the second system takes beside the first demo, each typed as a person would, in one run.

    python -m benchmarks.demos [--pairs 1]

Both start in an empty folder, one after the other. The last line is one JSON object: `sensors_x_demo` is the ratio of
the seconds by the clock, and `sensors_x_demo_cpu` that of the processors' seconds, which other work on the machine
disturbs less; medians of the pairs.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Taken:
    """Seconds by the clock, and of the processors."""

    clock_s: float
    cpu_s: float


def run(*words: str) -> Taken:
    """Run a demo in a new folder; its sandbox and its Prefect server count towards it."""
    before, began = _cpu_s(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "flows.terminal.cli", "demo", *words, f"corpus.folder={Path(folder) / 'c'}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return Taken(time.perf_counter() - began, _cpu_s() - before)


def _cpu_s() -> float:
    """Of all processes that were started here and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Run, divide, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1, help="how often both are run, in turn")
    pairs = [(run(), run("sensors")) for _ in range(parser.parse_args().pairs)]
    for first, second in pairs:
        print(f"demo {first.clock_s:.0f} s, CPU {first.cpu_s:.0f} s; "
              f"demo sensors {second.clock_s:.0f} s, CPU {second.cpu_s:.0f} s")  # fmt: skip
    print(json.dumps({
        "sensors_x_demo": round(statistics.median(second.clock_s / first.clock_s for first, second in pairs), 2),
        "sensors_x_demo_cpu": round(statistics.median(second.cpu_s / first.cpu_s for first, second in pairs), 2),
        "demo_s": round(statistics.median(first.clock_s for first, _ in pairs), 1),
        "demo_sensors_s": round(statistics.median(second.clock_s for _, second in pairs), 1),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
