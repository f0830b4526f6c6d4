"""What a chip of one layer costs by itself, and the file that keeps it beside a corpus."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pipeline import durable

LAYER_COSTS = "layer-costs.json"


@dataclass(frozen=True)
class LayerCost:
    """One chip of one layer, in a request of its own: EECU-seconds (None: no profile could be read), seconds, bytes as
    received and as stored. `share` is the layer's part of the EECU-time of all, 0 to 1, or of the seconds where that
    is not known: so much less an export takes without it.
    """

    name: str
    eecu_s: float | None
    seconds: float
    received_bytes: int
    stored_bytes: int
    share: float = 0.0


def with_shares(costs: Iterable[LayerCost]) -> list[LayerCost]:
    """The same with each one's share of them all, the dearest first."""
    listed = list(costs)
    weights = [cost.seconds if by_seconds(listed) else cost.eecu_s or 0.0 for cost in listed]
    total = sum(weights)
    shares = [
        replace(cost, share=weight / total if total else 0.0) for cost, weight in zip(listed, weights, strict=True)
    ]
    return sorted(shares, key=lambda cost: (-cost.share, cost.name))


def by_seconds(costs: Iterable[LayerCost]) -> bool:
    """Whether shares of these layers are of seconds, as the EECU-time of some is not known."""
    return any(cost.eecu_s is None for cost in costs)


def write_layer_costs(folder: Path, costs: Iterable[LayerCost]) -> None:
    """Keep them in the folder of a corpus, beside those of other layers: these may have been pulled by another run.

    Shares are then of all that are kept.
    """
    kept = {cost.name: cost for cost in (*read_layer_costs(folder), *costs)}
    durable.write_json(folder / LAYER_COSTS, [asdict(cost) for cost in with_shares(kept.values())])


def read_layer_costs(folder: Path) -> list[LayerCost]:
    """Those that were kept; none before a pilot. Raises `Fatal` for a damaged file."""
    path = folder / LAYER_COSTS
    remedy = "delete it: the report is then without costs"
    return durable.read_as(path, list[LayerCost], remedy) if path.exists() else []
