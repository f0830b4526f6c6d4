"""What a layer's bands tell of the observation itself: passes and polarisations of a radar, clouds over the chip."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

ROLES = ("anchor", "ascending", "descending")  # of scenes, the fields of `pipeline.chip.Acquisition`
OBSERVED = "geocorpus_observed"  # JSON as text, which every format holds


@dataclass(frozen=True)
class Channel:
    """A band that is one polarisation of the scene which a chip is pinned to in a role (of `ROLES`).

    Physical values below `noise_floor` are the sensor's noise, not the ground's; None where that cannot be told.
    """

    band: str
    role: str
    polarisation: str
    noise_floor: float | None = None


@dataclass(frozen=True)
class SkyClasses:
    """Which class codes are cloud, shadow of clouds, and snow; pixels of codes that are `unknown` do not count."""

    cloud: tuple[int, ...]
    shadow: tuple[int, ...] = ()
    snow: tuple[int, ...] = ()
    unknown: tuple[int, ...] = ()

    @property
    def codes(self) -> tuple[int, ...]:
        """All of them."""
        return (*self.cloud, *self.shadow, *self.snow, *self.unknown)


@dataclass(frozen=True)
class CloudDetection:
    """The bands that a detector of clouds takes, in its order, and the processing level for which it was made."""

    bands: tuple[str, ...]
    level: str


@dataclass(frozen=True)
class Observed:
    """All that is empty or None the layer does not tell.

    `modes` are marks in the names of scenes, each with the polarisations that such a scene has. A layer of
    probabilities has a cloud where its first band is at least `cloud_from`, in its units.
    """

    channels: tuple[Channel, ...] = ()
    modes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    classes: SkyClasses | None = None
    cloud_from: float | None = None
    detection: CloudDetection | None = None

    def polarisations(self, scene: str) -> tuple[str, ...] | None:
        """Those that a scene of this name has; None where the name does not say it."""
        return next((names for mark, names in self.modes if mark in scene), None)

    @property
    def cloud_rank(self) -> int | None:
        """Which layer is believed first about clouds: classes, then probabilities, then a detector; None for none."""
        told = (self.classes, self.cloud_from, self.detection)
        return next((rank for rank, item in enumerate(told) if item is not None), None)

    @property
    def tells_clouds_by_value(self) -> bool:
        """Whether each stored value says by itself if it is a cloud."""
        return self.classes is not None or self.cloud_from is not None

    def attributes(self) -> dict[str, str]:
        """An attribute of the layer's array."""
        return {OBSERVED: json.dumps(asdict(self), sort_keys=True)}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> Self | None:
        """What `attributes` gave; None where there is none. Raises `KeyError`, `TypeError` or `ValueError`."""
        if OBSERVED not in attributes:
            return None
        plain = json.loads(attributes[OBSERVED])
        classes, detection = plain["classes"], plain["detection"]
        return cls(
            channels=tuple(Channel(**each) for each in plain["channels"]),
            modes=tuple((mark, tuple(names)) for mark, names in plain["modes"]),
            classes=SkyClasses(**{name: tuple(codes) for name, codes in classes.items()}) if classes else None,
            cloud_from=plain["cloud_from"],
            detection=CloudDetection(tuple(detection["bands"]), detection["level"]) if detection else None,
        )
