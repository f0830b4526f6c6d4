"""The vector file of the regions to sample: the user's own, or one that comes with the project."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from pipeline.errors import unknown_name

_SHIPPED = "shipped:"


def region_file(text: str) -> Path:
    """The path that `sampling.regions` means: "shipped:NAME" is beside the shipped configurations.

    Raises `Fatal` for an unknown name, and names the nearest.
    """
    if not text.startswith(_SHIPPED):
        return Path(text)
    name = text.removeprefix(_SHIPPED)
    known = {path.name: path for path in Path(str(files("flows") / "configs")).glob("*.geojson")}
    if name not in known:
        raise unknown_name("sampling.regions", text, [f"{_SHIPPED}{known_name}" for known_name in sorted(known)])
    return known[name]
