"""What each layer costs by itself: a profiled request for one chip of it, and what an export saves without it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from exporters.earth_engine.batch_size import OneTooLarge
from exporters.earth_engine.client import EarthEngine
from exporters.pull.preflight import Estimate, Work
from exporters.pull.pull import Puller
from exporters.sources import Local, Pixels
from pipeline.chip import Chip
from pipeline.compression import compressed_bytes
from pipeline.errors import Missing, Transient
from pipeline.layer_cost import LayerCost, with_shares
from pipeline.modality import Modality

MOST_LAYERS = 12  # that are asked for: a pilot has to stay cheap
_CHIPS_LOOKED_AT = 24  # for one that has the layer


@dataclass(frozen=True)
class Saving:
    """What an export takes less without a layer: EECU-hours (None where they are not known), and gigabytes."""

    share: float
    saves_eecu_h: float | None
    saves_received_gb: float
    saves_stored_gb: float


def saving_of(cost: LayerCost, estimate: Estimate) -> Saving:
    """The layer's share of the estimated EECU-hours, and its bytes for every chip."""
    eecu_h = None if estimate.eecu_h is None or cost.eecu_s is None else cost.share * estimate.eecu_h
    received, stored = (size * estimate.chips / 1e9 for size in (cost.received_bytes, cost.stored_bytes))
    return Saving(cost.share, eecu_h, received, stored)


def layer_costs(engine: EarthEngine, work: Work) -> list[LayerCost]:
    """The layers that come from Earth Engine, `MOST_LAYERS` of them, the dearest first; others and those that fail are
    left out. Earth Engine caches results, so chips are not those of the pilot where there are others.
    """
    puller, sample = Puller(engine), work.sample(_CHIPS_LOOKED_AT)
    remote = [layer for layer in work.layers if not isinstance(puller.source(layer), Local)]
    chosen = ((layer, _chip_with(puller, layer, sample)) for layer in remote[:MOST_LAYERS])
    measured = [_measured(engine, puller, layer, chip) for layer, chip in chosen if chip is not None]
    return with_shares(cost for cost in measured if cost is not None)


def _chip_with(puller: Puller, layer: Modality, sample: Sequence[tuple[Chip, Sequence[Modality]]]) -> Chip | None:
    """A chip in the middle of the sample that may have the layer."""
    chips = [chip for chip, layers in sample if layer in layers and puller.source(layer).absent(chip) is None]
    return chips[len(chips) // 2] if chips else None


def _measured(engine: EarthEngine, puller: Puller, layer: Modality, chip: Chip) -> LayerCost | None:
    before, started_s = engine.figures().bytes_received, time.monotonic()
    try:
        with engine.profiled() as cost:
            is_image = isinstance(puller.source(layer), Pixels)
            pulled = puller.pixels(chip, [layer]) if is_image else puller.regions([chip], [layer])[chip.row]
            seconds = time.monotonic() - started_s
            received = engine.figures().bytes_received - before
    except (Transient, OneTooLarge, Missing):
        return None
    stored = sum(compressed_bytes(block) for block in pulled.values.values())
    return LayerCost(layer.name, cost.eecu_s, seconds, received, stored)
