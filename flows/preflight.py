"""What a person reads before an export: whether it can work, and what it will take."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from exporters.earth_engine.client import EarthEngine
from exporters.pull import preflight
from exporters.pull.preflight import Estimate, Pilot, Work
from pipeline.progress import Progress, duration
from pipeline.store import Store

LONG_CHIPS = 1000  # from here on an export checks itself before it begins
_UNKNOWN = (
    "EECU-hours       unknown: no profile could be read. They show in Cloud Monitoring a while after the pilot; "
    "to fit one month, a chip may cost"
)


def before(engine: EarthEngine, work: Work, folder: Path, store: Store, progress: Progress) -> None:
    """Check a long export and say what it will take; does nothing for a short one. Raises `Fatal`."""
    if work.chips < LONG_CHIPS:
        return
    preflight.readable(engine, work)
    tried = preflight.pilot(engine, work)
    estimate = preflight.estimate(engine, work, tried, store.folder or folder)
    preflight.refuse_full_disk(estimate, work, folder, store)
    cost = "" if estimate.eecu_h is None else f"{estimate.eecu_h:,.3g} EECU-hours, "
    progress.say(
        f"{estimate.chips:,} chips to pull: about {estimate.requests:,} requests, {duration(estimate.hours * 3600)} at "
        f"{estimate.concurrency} at once, {cost}{estimate.stored_gb:.1f} GB in {store.url}."
    )


def dry_run(engine: EarthEngine, work: Work, folder: Path, store: Store) -> str:
    """Check and estimate only. Raises `Fatal` for what would stop the export."""
    if store.folder is None:
        store.check()
    if not work.missing:
        return f"Nothing is missing in {folder}; an export would ask for nothing."
    assets = preflight.readable(engine, work)
    tried = preflight.pilot(engine, work)
    estimate = preflight.estimate(engine, work, tried, store.folder or folder)
    preflight.refuse_full_disk(estimate, work, folder, store)
    return "\n".join([*_checked(engine, assets, tried), *_costs(estimate, store), *_absent(tried)])


def _checked(engine: EarthEngine, assets: list[str], tried: Pilot) -> list[str]:
    quota = "restricts this project" if engine.figures().restricted else "does not restrict this project now"
    return [
        f"credentials      accepted by {engine.connection.base_url} for {engine.connection.project}; it {quota}",
        f"assets           {len(assets)} exist and can be read",
        f"pilot            {tried.chips} chips, {tried.pixel_requests} pixel requests, {tried.seconds:.2f} s each",
    ]


def _costs(estimate: Estimate, store: Store) -> list[str]:
    return [
        f"chips to pull    {estimate.chips:,}",
        f"requests         {estimate.requests:,} ({estimate.requests / estimate.chips:.3f} a chip)",
        f"time             {duration(estimate.hours * 3600)} at {estimate.concurrency} requests at once",
        f"to receive       {_size(estimate.received_gb)}",
        _room(estimate, store),
        _compute(estimate),
        "Nothing was written.",
    ]


def _compute(estimate: Estimate) -> str:
    """EECU-hours beside what a month of each tier has."""
    if estimate.eecu_h is None:
        affordable = estimate.affordable_eecu_s().items()
        return f"{_UNKNOWN} {', '.join(f'{seconds:.2g} EECU-s ({tier})' for tier, seconds in affordable)}."
    shares = ", ".join(
        f"{share:.1%} of a month of {tier} ({preflight.TIERS[tier]:,})" for tier, share in estimate.months().items()
    )
    a_chip = estimate.eecu_h * 3600 / estimate.chips
    return f"EECU-hours       {estimate.eecu_h:,.3g}, {a_chip:.2g} EECU-s a chip by the pilot's profiles: {shares}"


def _room(estimate: Estimate, store: Store) -> str:
    if store.folder is None:
        return f"in the bucket    {_size(estimate.stored_gb)} below {store.url}"
    return f"on disk          {_size(estimate.stored_gb)} of {_size(estimate.free_gb)} free"


def _absent(tried: Pilot) -> list[str]:
    """What the pilot's chips lack, so that a layer that is never there is seen before a week is spent on it."""
    counts = Counter(name for name, _ in tried.reasons)
    examples = dict(tried.reasons)
    return [f"{name}: no data in {count} of {tried.chips} ({examples[name]})" for name, count in counts.items()]


def _size(gigabytes: float) -> str:
    return f"{gigabytes:,.1f} GB" if gigabytes >= 1 else f"{gigabytes * 1000:,.1f} MB"
