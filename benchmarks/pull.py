"""The export of whole chips against a service with quotas: how near its limit, how many refusals, what CPU.

    python -m benchmarks.pull [--quick] [--case whole|smaller|added] [--pairs 5] [--shares]

A sandbox in a process of its own answers after 0.25 s from a pool of ready chips, with its quotas on: so the client is
what is measured. Each case is one corpus, exported by the stage that `geocorpus export` calls, several times, each
time after a run of the bare client (`benchmarks.bare_client`); figures are medians of these pairs. "all" is every
modality but the climate, whose answers the sandbox would compute (one for 16 to 128 chips: 0.06 to 0.008 a chip more);
100 requests a second of it are more than two cores can build graphs for, with the bare client too, so that case has one
modality, as when one is added to a corpus. `--shares` shows where a chip's CPU time goes. The last line is one JSON
object: the worst case's requests_per_chip, fraction_of_limit, share_429 and client_cpu_ratio, the ratios of all cases
without compression and with it, their fractions of the limit, and the cases.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

# Nothing of ours is imported yet: a worker imports this module first, as it would the command, which is as small.
if TYPE_CHECKING:
    from benchmarks.pull_case import Outcomes

NAMES = ("whole", "smaller", "added")


def show(outcomes: Sequence[Outcomes]) -> None:
    """One column a case."""
    rows: list[tuple[str, Callable[[Outcomes], str]]] = [
        ("chips", lambda one: f"{one.case.chips:,}"),
        ("pixels", lambda one: f"{one.case.size_px}"),
        ("modalities", lambda one: str(len(one.case.modalities) or "all")),
        ("processes", lambda one: f"{one.case.workers}"),
        ("at once; a second", lambda one: f"{one.case.at_once}; {one.case.requests_per_s:g}"),
        ("limit, chips a second", lambda one: f"{one.case.limit:.1f}"),
        ("chips a second after warm-up", lambda one: f"{one.median('chips_per_s'):.1f}"),
        ("fraction of the limit", lambda one: f"{one.fraction_of_limit:.3f}"),
        ("requests per chip", lambda one: f"{one.median('requests_per_chip'):.3f}"),
        ("share of 429 after warm-up", lambda one: f"{one.median('share_429'):.4%}"),
        ("CPU ms per chip: ours", lambda one: f"{one.median('cpu_ms'):.1f}"),
        ("  of which compression", lambda one: f"{one.median('compression_ms'):.1f}"),
        ("CPU ms per chip: bare client", lambda one: f"{one.median('bare_cpu_ms'):.1f}"),
        ("ratio without compression", lambda one: f"{one.median('ratio'):.2f}"),
        ("ratio with it", lambda one: f"{one.median('ratio_whole'):.2f}"),
        ("  of each pair, without", lambda one: " ".join(f"{pair.ratio:.2f}" for pair in one.pairs)),
        ("CPU ms per chip: sandbox", lambda one: f"{one.median('sandbox_cpu_ms'):.1f}"),
        ("cores busy", lambda one: f"{one.median('cores_busy'):.2f} of {os.cpu_count()}"),
    ]
    for name, value in rows:
        print(f"{name:<34}" + "".join(f"{value(one):>26}" for one in outcomes))


def summary(outcomes: Sequence[Outcomes]) -> str:
    """The JSON line."""
    return json.dumps({
        "requests_per_chip": round(max(one.median("requests_per_chip") for one in outcomes), 3),
        "fraction_of_limit": round(min(one.fraction_of_limit for one in outcomes), 3),
        "share_429": round(max(one.median("share_429") for one in outcomes), 5),
        "client_cpu_ratio": round(max(one.median("ratio_whole") for one in outcomes), 2),
        "client_cpu_ratios": [round(one.median("ratio"), 2) for one in outcomes],
        "client_cpu_ratios_whole": [round(one.median("ratio_whole"), 2) for one in outcomes],
        "fractions": [round(one.fraction_of_limit, 3) for one in outcomes],
        "pairs": len(outcomes[0].pairs),
        "load": [round(load, 1) for load in os.getloadavg()],
        "cases": [asdict(one.case) | {"chips_per_s": round(one.median("chips_per_s"), 1)} for one in outcomes],
    })  # fmt: skip


def main() -> None:
    """Measure every case, print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one small case")
    parser.add_argument("--case", choices=NAMES, action="append", help="only this one; may be given again")
    parser.add_argument("--pairs", type=int, help="runs of the bare client and of the export (5; 1 with --quick)")
    parser.add_argument("--shares", action="store_true", help="where a chip's CPU time goes, by one more export")
    options = parser.parse_args()
    from benchmarks.pull_case import CASES, QUICK, measured

    cases = [QUICK] if options.quick else [CASES[name] for name in options.case or NAMES]
    pairs = options.pairs or (1 if options.quick else 5)
    outcomes = [measured(case, pairs, options.shares) for case in cases]
    show(outcomes)
    print(summary(outcomes))


if __name__ == "__main__":
    main()
