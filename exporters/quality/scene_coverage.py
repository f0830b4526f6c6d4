"""What arrived of the scenes that chips are pinned to, by pass and by polarisation, and what of it is noise.

A pass without a scene, and a polarisation that a scene was not taken in, are told apart from what was lost on the way.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.manifest import Manifest
from pipeline.modality import Modality
from pipeline.observed import Channel, Observed
from pipeline.shard import Shard

MOST_ROWS_NAMED = 16
# A share of a chip's pixels: single ones below the floor are speckle, and radar shadow.
_LEAST_NOISE = 0.01


@dataclass
class Tally:
    """How many chips, and their rows: of a shard all of them, of what is added up the first ones."""

    chips: int = 0
    rows: list[int] = field(default_factory=list)

    def add(self, rows: Iterable[int]) -> None:
        """Count more chips."""
        listed = list(rows)
        self.chips += len(listed)
        self.rows += listed

    def join(self, plain: Mapping[str, Any]) -> None:
        """Add what `plain` gave, and name its rows while there are few."""
        self.chips += plain["chips"]
        self.rows += plain["rows"][: max(0, MOST_ROWS_NAMED - len(self.rows))]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {"chips": self.chips, "rows": self.rows}


@dataclass
class Polarisation:
    """Of the chips whose scene was taken in it (`expected`): with any data, without any (`lost`), with noise."""

    expected: int = 0
    data: int = 0
    lost: Tally = field(default_factory=Tally)
    noise: Tally = field(default_factory=Tally)


@dataclass
class SceneCoverage:
    """Of `chips`: pinned to a scene in this role, pinned without any data (`lost`), and with data in part (`partial`).

    The polarisations of a lost scene are not counted as lost once more.
    """

    chips: int = 0
    pinned: int = 0
    lost: Tally = field(default_factory=Tally)
    partial: Tally = field(default_factory=Tally)
    polarisations: dict[str, Polarisation] = field(default_factory=dict)

    def join(self, plain: Mapping[str, Any]) -> None:
        """Add the findings of one shard."""
        self.chips += plain["chips"]
        self.pinned += plain["pinned"]
        self.lost.join(plain["lost"])
        self.partial.join(plain["partial"])
        for found in plain["polarisations"]:
            mine = self.polarisations.setdefault(found["name"], Polarisation())
            mine.expected += found["expected"]
            mine.data += found["data"]
            mine.lost.join(found["lost"])
            mine.noise.join(found["noise"])

    @property
    def taken(self) -> dict[str, Polarisation]:
        """The polarisations that some scene was taken in: of the others nothing can be lost."""
        return {name: item for name, item in self.polarisations.items() if item.expected}

    def __str__(self) -> str:
        """Chips with a scene, and with data of those whose scene was taken in each polarisation."""
        shares = ", ".join(f"{name} {item.data:,} of {item.expected:,}" for name, item in self.taken.items())
        return f"{self.pinned:,} of {self.chips:,} chips have a scene" + (f"; {shares}" if shares else "")

    def plain(self) -> dict[str, Any]:
        """As JSON, which `join` takes."""
        return {
            "chips": self.chips, "pinned": self.pinned, "lost": self.lost.plain(), "partial": self.partial.plain(),
            "polarisations": [_plain(name, item) for name, item in self.polarisations.items()],
        }  # fmt: skip


def _plain(name: str, item: Polarisation) -> dict[str, Any]:
    counts = {"name": name, "expected": item.expected, "data": item.data}
    return {**counts, "lost": item.lost.plain(), "noise": item.noise.plain()}


def scene_findings(modality: Modality, manifest: Manifest, shard: Shard, block: NDArray[Any]) -> dict[str, Any]:
    """The findings of a shard by role, as JSON; empty for a layer without channels. `block` is (rows, bands, y, x)."""
    observed = modality.observed
    if observed is None or not observed.channels:
        return {}
    by_role = groupby(sorted(observed.channels, key=lambda channel: channel.role), key=lambda channel: channel.role)
    return {
        role: _of_role(modality, observed, list(channels), manifest.column(f"{role}_id", shard.slice), shard, block)
        for role, channels in by_role
    }


def _of_role(
    modality: Modality, observed: Observed, channels: Sequence[Channel], scenes: NDArray[Any], shard: Shard,
    block: NDArray[Any],
) -> dict[str, Any]:  # fmt: skip
    """`scenes` (rows,) are asset ids, None for no scene."""
    valid = {each.band: _valid_share(modality, block, each.band) for each in channels}
    shares = np.stack(list(valid.values()))
    named = np.array([isinstance(scene, str) and scene != "" for scene in scenes], dtype=np.bool_)
    arrived, pinned = shares.max(axis=0) > 0, named | (shares.max(axis=0) > 0)
    result = SceneCoverage(len(shard), int(np.count_nonzero(pinned)))
    result.lost.add(_rows(shard, pinned & ~arrived))
    result.partial.add(_rows(shard, np.any((shares > 0) & (shares < 1), axis=0)))
    taken = [observed.polarisations(scene) if here else None for scene, here in zip(scenes, named, strict=True)]
    for channel in channels:
        data = valid[channel.band] > 0
        by_name = [names is not None and channel.polarisation in names for names in taken]
        expected = np.array(by_name, dtype=np.bool_) | data
        found = Polarisation(int(np.count_nonzero(expected)), int(np.count_nonzero(data)))
        found.lost.add(_rows(shard, expected & ~data & arrived))
        found.noise.add(_rows(shard, _noise_share(modality, block, channel) >= _LEAST_NOISE))
        result.polarisations[channel.polarisation] = found
    return result.plain()


def _rows(shard: Shard, chosen: NDArray[np.bool_]) -> list[int]:
    return (shard.start + np.flatnonzero(chosen)).tolist()


def _valid_share(modality: Modality, block: NDArray[Any], band: str) -> NDArray[np.float64]:
    """The share of valid values of every row, (rows,)."""
    values = block[:, modality.band_names.index(band)].reshape(len(block), -1)
    return np.array([np.count_nonzero(modality.valid(chip)) for chip in values]) / values.shape[1]


def _noise_share(modality: Modality, block: NDArray[Any], channel: Channel) -> NDArray[np.float64]:
    """The share of all values of every row that are below the noise floor, (rows,)."""
    if channel.noise_floor is None:
        return np.zeros(len(block))
    values = block[:, modality.band_names.index(channel.band)].reshape(len(block), -1)
    floor = (channel.noise_floor - modality.offset) / modality.scale
    if np.dtype(modality.dtype).kind in "iu":  # else the whole chip would be cast to compare it
        floor = math.ceil(floor) if modality.scale > 0 else math.floor(floor)
    below = [chip < floor if modality.scale > 0 else chip > floor for chip in values]
    counts = [np.count_nonzero(low & modality.valid(chip)) for low, chip in zip(below, values, strict=True)]
    return np.array(counts) / values.shape[1]
