"""The check and the estimate before an export, as text: whether it can work, and how long and how much it will take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from exporters.earth_engine.batch_size import OneTooLarge
from exporters.earth_engine.client import EarthEngine
from exporters.pull import preflight
from exporters.pull.layer_costs import Saving, layer_costs, saving_of
from exporters.pull.preflight import Estimate, Pilot, Work
from flows import live_check
from flows.closing import Closing
from flows.live_check import LiveCheck
from pipeline.errors import Fatal, Transient
from pipeline.layer_cost import LayerCost, by_seconds, write_layer_costs
from pipeline.progress import Progress, duration
from pipeline.store import Store

LONG_CHIPS = 1000  # an export of this many chips or more is estimated before it begins
_UNKNOWN = (
    "EECU-hours       unknown: no profile could be read. They show in Cloud Monitoring a while after the pilot; "
    "to fit one month, a chip may cost"
)


def before(engine: EarthEngine, work: Work, folder: Path, store: Store, progress: Progress) -> None:
    """Look up the assets of an export, which takes a request each; of a long one, show its estimate too.

    Raises `Fatal` when an asset cannot be read or the disk is too small.
    """
    preflight.readable(engine, work)
    if work.chips < LONG_CHIPS:
        return
    pilot = preflight.pilot(engine, work)
    estimate = preflight.estimate(engine, work, pilot, store.folder or folder)
    preflight.refuse_full_disk(estimate, work, folder, store)
    costs = layer_costs(engine, work)
    cost = "" if estimate.eecu_h is None else f"{estimate.eecu_h:,.3g} EECU-hours, "
    progress.say(
        f"{estimate.chips:,} chips to pull: about {estimate.requests:,} requests, {duration(estimate.hours * 3600)} at "
        f"{estimate.concurrency} at once, {cost}{estimate.stored_gb:.1f} GB in {store.url}."
    )
    if costs:
        write_layer_costs(folder, costs)
        kind = "seconds" if by_seconds(costs) else "EECU-time"
        progress.say(f"The dearest layer is {costs[0].name}: {costs[0].share:.0%} of the {kind} of all by themselves.")


def dry_run(engine: EarthEngine, work: Work, folder: Path, store: Store) -> str:
    """The check and the estimate, without the export. Raises `Fatal` for what would stop the export."""
    if store.folder is None:
        store.check()
    if not work.unfinished:
        return Closing.of(f"Nothing is missing in {folder}; an export would ask for nothing.", chips=0, requests=0)
    assets = preflight.readable(engine, work)
    values = _agreement(engine, work)
    pilot = preflight.pilot(engine, work)
    estimate = preflight.estimate(engine, work, pilot, store.folder or folder)
    preflight.refuse_full_disk(estimate, work, folder, store)
    asks = bool(assets or estimate.requests)
    checked, costs = (_checked(engine, assets, pilot), _costs) if asks else ([], _local_costs)
    by_layer = layer_costs(engine, work)
    lines = [*checked, *values, *costs(estimate, store), *_by_layer(by_layer, estimate), *_absent(pilot)]
    return Closing.of(
        "\n".join(lines),
        done="Nothing was written.", assets=assets, restricted=engine.figures().restricted, **asdict(estimate),
        months=estimate.months(), pilot=asdict(pilot) | {"reasons": _reasons(pilot)},
        layers={cost.name: asdict(cost) | asdict(saving_of(cost, estimate)) for cost in by_layer},
    )  # fmt: skip


def _agreement(engine: EarthEngine, work: Work) -> list[str]:
    """One chip against the pixels that Earth Engine stores, as a line; none where no layer is computed there.

    Raises `Fatal` for layers that differ: their pixels would be wrong, and nothing would say so.
    """
    layers = live_check.remote(work.layers)
    if not layers:
        return []
    try:
        result = live_check.run(engine, live_check.telling(work.manifest), layers)
    except (Transient, OneTooLarge) as error:
        return [f"values           not compared with stored pixels: {error}"]
    if result.differing:
        raise Fatal(
            f"values of {', '.join(result.differing)} are not what Earth Engine's stored pixels give; "
            "`geocorpus doctor --live` with the same settings says by how much, and draws them."
        )
    return [f"values           {_agreed(result)}, {result.requests} requests; `geocorpus doctor --live` says more"]


def _agreed(result: LiveCheck) -> str:
    """How many layers agree; those that were not compared are named as such, as they do not disagree."""
    same = sum(item.state == "same" for item in result.layers)
    others = len(result.layers) - same
    said = f"{same} of {len(result.layers)} layers of one chip agree with stored pixels"
    return f"{said}, {others} {'is' if others == 1 else 'are'} not compared" if others else said


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


def _local_costs(estimate: Estimate, store: Store) -> list[str]:
    """The lines of `_costs` that hold where nothing is asked of Earth Engine."""
    return [f"chips to pull    {estimate.chips:,}", _storage(estimate, store), "Nothing was written."]


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


def _by_layer(costs: Sequence[LayerCost], estimate: Estimate) -> list[str]:
    """A line for each layer: what one chip of it costs by itself, and what the export saves without it."""
    if not costs:
        return []
    head = "by layer         a chip of it alone, and what the export takes less without it"
    return [head, *(f"  {cost.name:24} {_alone(cost)}; {_saved(saving_of(cost, estimate))}" for cost in costs)]


def _alone(cost: LayerCost) -> str:
    eecu = "" if cost.eecu_s is None else f"{cost.eecu_s:.2g} EECU-s, "
    received, stored = (f"{size / 1000:,.1f} kB" for size in (cost.received_bytes, cost.stored_bytes))
    return f"{eecu}{cost.seconds:.2f} s, {received} to receive, {stored} stored"


def _saved(saving: Saving) -> str:
    eecu = "" if saving.saves_eecu_h is None else f"{saving.saves_eecu_h:,.2g} EECU-hours ({saving.share:.0%}), "
    return f"{eecu}{_size(saving.saves_received_gb)} to receive, {_size(saving.saves_stored_gb)} stored"


def _storage(estimate: Estimate, store: Store) -> str:
    if store.folder is None:
        return f"in the bucket    {_size(estimate.stored_gb)} below {store.url}"
    return f"on disk          {_size(estimate.stored_gb)} of {_size(estimate.free_gb)} free"


def _absent(pilot: Pilot) -> list[str]:
    """The layers without data in the pilot's chips: a layer that has none anywhere is seen before a long export."""
    counts = Counter(name for name, _ in pilot.reasons)
    examples = dict(pilot.reasons)
    return [f"{name}: no data in {count} of {pilot.chips} ({examples[name]})" for name, count in counts.items()]


def _reasons(pilot: Pilot) -> dict[str, dict[str, int]]:
    """Why chips of the pilot have no data, by layer: how often each reason."""
    counts: dict[str, Counter[str]] = {}
    for name, reason in pilot.reasons:
        counts.setdefault(name, Counter())[reason] += 1
    return {name: dict(reasons) for name, reasons in counts.items()}


def _size(gigabytes: float) -> str:
    return f"{gigabytes:,.1f} GB" if gigabytes >= 1 else f"{gigabytes * 1000:,.1f} MB"
