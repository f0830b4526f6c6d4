"""The check and the estimate before an export, as text: whether it can work, and how long and how much it will take."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from exporters.earth_engine.client import EarthEngine
from exporters.pull import preflight
from exporters.pull.preflight import Estimate, Pilot, Work
from pipeline.progress import Progress, duration
from pipeline.store import Store

LONG_CHIPS = 1000  # an export of this many chips or more is checked before it begins
_UNKNOWN = (
    "EECU-hours       unknown: no profile could be read. They show in Cloud Monitoring a while after the pilot; "
    "to fit one month, a chip may cost"
)


def before(engine: EarthEngine, work: Work, folder: Path, store: Store, progress: Progress) -> None:
    """Check a long export and show its estimate; does nothing for a short one.

    Raises `Fatal` when an asset cannot be read or the disk is too small.
    """
    if work.chips < LONG_CHIPS:
        return
    preflight.readable(engine, work)
    pilot = preflight.pilot(engine, work)
    estimate = preflight.estimate(engine, work, pilot, store.folder or folder)
    preflight.refuse_full_disk(estimate, work, folder, store)
    cost = "" if estimate.eecu_h is None else f"{estimate.eecu_h:,.3g} EECU-hours, "
    progress.say(
        f"{estimate.chips:,} chips to pull: about {estimate.requests:,} requests, {duration(estimate.hours * 3600)} at "
        f"{estimate.concurrency} at once, {cost}{estimate.stored_gb:.1f} GB in {store.url}."
    )


def dry_run(engine: EarthEngine, work: Work, folder: Path, store: Store) -> str:
    """The check and the estimate, without the export. Raises `Fatal` for what would stop the export."""
    if store.folder is None:
        store.check()
    if not work.unfinished:
        return f"Nothing is missing in {folder}; an export would ask for nothing."
    assets = preflight.readable(engine, work)
    pilot = preflight.pilot(engine, work)
    estimate = preflight.estimate(engine, work, pilot, store.folder or folder)
    preflight.refuse_full_disk(estimate, work, folder, store)
    return "\n".join([*_checked(engine, assets, pilot), *_costs(estimate, store), *_absent(pilot)])


def _checked(engine: EarthEngine, assets: list[str], pilot: Pilot) -> list[str]:
    quota = "restricts this project" if engine.figures().restricted else "does not restrict this project now"
    return [
        f"credentials      accepted by {engine.connection.base_url} for {engine.connection.project}; it {quota}",
        f"assets           {len(assets)} exist and can be read",
        f"pilot            {pilot.chips} chips, {pilot.pixel_requests} pixel requests, {pilot.seconds:.2f} s each",
    ]


def _costs(estimate: Estimate, store: Store) -> list[str]:
    return [
        f"chips to pull    {estimate.chips:,}",
        f"requests         {estimate.requests:,} ({estimate.requests / estimate.chips:.3f} a chip)",
        f"time             {duration(estimate.hours * 3600)} at {estimate.concurrency} requests at once",
        f"to receive       {_size(estimate.received_gb)}",
        _storage(estimate, store),
        _compute(estimate),
        "Nothing was written.",
    ]


def _compute(estimate: Estimate) -> str:
    """The estimated EECU-hours, and their share of a month of each tier."""
    if estimate.eecu_h is None:
        affordable = estimate.affordable_eecu_s().items()
        return f"{_UNKNOWN} {', '.join(f'{seconds:.2g} EECU-s ({tier})' for tier, seconds in affordable)}."
    shares = ", ".join(
        f"{share:.1%} of a month of {tier} ({preflight.TIERS[tier]:,})" for tier, share in estimate.months().items()
    )
    a_chip = estimate.eecu_h * 3600 / estimate.chips
    return f"EECU-hours       {estimate.eecu_h:,.3g}, {a_chip:.2g} EECU-s a chip by the pilot's profiles: {shares}"


def _storage(estimate: Estimate, store: Store) -> str:
    if store.folder is None:
        return f"in the bucket    {_size(estimate.stored_gb)} below {store.url}"
    return f"on disk          {_size(estimate.stored_gb)} of {_size(estimate.free_gb)} free"


def _absent(pilot: Pilot) -> list[str]:
    """The layers without data in the pilot's chips: a layer that has none anywhere is seen before a long export."""
    counts = Counter(name for name, _ in pilot.reasons)
    examples = dict(pilot.reasons)
    return [f"{name}: no data in {count} of {pilot.chips} ({examples[name]})" for name, count in counts.items()]


def _size(gigabytes: float) -> str:
    return f"{gigabytes:,.1f} GB" if gigabytes >= 1 else f"{gigabytes * 1000:,.1f} MB"
