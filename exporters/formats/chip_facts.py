"""What is known of a chip beside its pixels, as plain JSON: for tags of files and properties of items."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pipeline.chip import Chip
from pipeline.own_columns import PREFIX

_ROLES = ("anchor", "ascending", "descending")
_REGIONS = ("biome", "biome_name", "ecoregion", "ecoregion_name", "realm")


def chip_facts(chip: Chip) -> dict[str, Any]:
    """Row, place, split, level, scenes with their times (UTC, ISO 8601) and the owner's columns as "own_<name>".

    What is not known has no key, and neither have outlines.
    """
    place, scenes = chip.location, [(role, getattr(chip.acquisition, role)) for role in _ROLES]
    facts: dict[str, Any] = {"row": chip.row, "id": place.id, "longitude": place.lon, "latitude": place.lat}
    facts |= {"split": chip.split, "level": chip.acquisition.level}
    for role, scene in scenes:
        if scene is not None:
            facts |= {f"{role}_id": scene.asset_id, f"{role}_time": utc_text(scene.time)}
    facts |= {name: getattr(place, name) or None for name in _REGIONS}  # a code of 0 is not known
    own = {f"{PREFIX}{name}": _plain(value) for name, value in chip.own.items() if not isinstance(value, bytes)}
    return {name: value for name, value in (facts | own).items() if value not in ("", None)}


def utc_text(time: datetime) -> str:
    """A time in UTC as RFC 3339, with milliseconds only where it has them: "2019-06-02T06:46:31Z"."""
    return time.replace(tzinfo=None).isoformat(timespec="milliseconds").removesuffix(".000") + "Z"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return utc_text(value)
    return value.isoformat() if isinstance(value, date) else value
