"""One chip in the explorer: its facts, and each layer as a picture and as numbers, straight from the store."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from exporters.formats.chip_raster import ChipRaster
from flows.viewer.open_layers import OpenLayers
from pipeline.chip import ROLES, Chip, Scene
from pipeline.corpus import Corpus
from pipeline.drawing import draw
from pipeline.errors import Fatal
from pipeline.modality import Modality

_CATALOGUE = "https://developers.google.com/earth-engine/datasets/catalog/"
_NOT_EXPORTED = "not exported yet"


def layer_of(modality: Modality) -> dict[str, Any]:
    """What the page knows of a layer before it looks at a chip, for JSON."""
    return {
        "name": modality.name, "title": modality.title, "extent": modality.extent,
        "bands": [{"name": band.name, "units": band.units, "title": band.long_name} for band in modality.bands],
        "classes": [{"code": item.code, "name": item.name, "colour": item.colour} for item in modality.categories],
        "style": modality.display.style, "shown": modality.display.bands,
    }  # fmt: skip


@dataclass(frozen=True)
class ChipView:
    """The chip in manifest row `row`. What it gives raises `Fatal` where a shard is damaged or a layer is unknown."""

    layers: OpenLayers
    row: int

    @property
    def corpus(self) -> Corpus:
        """The corpus of the chip."""
        return self.layers.corpus

    @cached_property
    def chip(self) -> Chip:
        """The row of the manifest."""
        return self.corpus.manifest[self.row]

    def facts(self) -> dict[str, Any]:
        """Place, dates, scenes and grid, for JSON."""
        chip = self.chip
        location, grid = chip.location, chip.grid
        return {
            "row": self.row, "id": location.id, "lon": location.lon, "lat": location.lat, "split": chip.split,
            "biome": location.biome_name, "ecoregion": location.ecoregion_name, "level": chip.acquisition.level,
            "date": f"{chip.acquisition.date:%Y-%m-%d}", "scenes": _scenes(chip),
            "grid": {"crs": grid.crs, "origin_xy": grid.origin_xy, "shape_yx": grid.shape_yx,
                     "resolution_m": grid.resolution_m},
            "own": {name: _plain(value) for name, value in chip.own.items()},
        }  # fmt: skip

    def found(self, name: str) -> NDArray[Any] | str:
        """Stored values (bands[, y, x]) of a layer, or why the chip does not have it. Raises `Fatal` for damage."""
        entry = self.layers.entry(name, self.row)
        if entry is None:
            return _NOT_EXPORTED
        reason = entry.missing.get(self.row)
        return self.layers.stored(self.row, entry) if reason is None else reason

    def stored(self, name: str) -> NDArray[Any]:
        """As `found`; raises `Fatal` for a layer that the chip does not have."""
        found = self.found(self.corpus.modality(name).name)
        if isinstance(found, str):
            raise Fatal(f"chip {self.row} has no {name}: {found}.")
        return found

    def picture(self, name: str, band: str) -> bytes:
        """A PNG of a layer as the report draws it; of one `band` where it draws a picture for each, else of "".

        Raises `Fatal` for a layer or a band without a picture.
        """
        modality = self.corpus.modality(name)
        if band not in pictured(modality):
            names = ", ".join(map(repr, pictured(modality))) or "none"
            raise Fatal(f"{name} has no picture {band!r}; there are {names}.")
        if band:
            modality = replace(modality, display=replace(modality.display, bands=(band,)))
        return _png(draw(modality, self.stored(name), self.chip.grid.resolution_m))

    def raster(self, name: str) -> bytes:
        """The layer as a GeoTIFF, as `convert --to geotiff` writes it, without the side file of classes."""
        stored = self.stored(name)
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "chip.tif"
            ChipRaster(self.corpus.modality(name), "GTiff", "DEFLATE").write(path, self.chip, stored)
            return path.read_bytes()


def pictured(modality: Modality) -> tuple[str, ...]:
    """The bands of which there is a picture each, ("",) where one shows all, or () of a layer with a value per chip."""
    display = modality.display
    if modality.extent != "pixel":
        return ()
    return display.bands if display.style == "grey" and len(display.bands) > 1 else ("",)


def _png(picture: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG", compress_level=1)  # it goes no further than this machine
    return stream.getvalue()


def _scenes(chip: Chip) -> list[dict[str, str]]:
    taken = {role: getattr(chip.acquisition, role) for role in ROLES}
    return [_scene(role, scene) for role, scene in taken.items() if scene is not None]


def _scene(role: str, scene: Scene) -> dict[str, str]:
    """A scene with the page of its collection in Earth Engine's catalogue; files of one's own have none."""
    collection, slash, _ = scene.asset_id.rpartition("/")
    known = bool(slash) and collection.upper() == collection and collection.replace("/", "").replace("_", "").isalnum()
    link = _CATALOGUE + collection.replace("/", "_") if known else ""
    return {"role": role, "id": scene.asset_id, "time": f"{scene.time:%Y-%m-%d %H:%M} UTC", "link": link}


def _plain(value: Any) -> str | int | float | bool | None:
    """An owner's value for JSON: dates as text; nothing for outlines and for what is no number."""
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if hasattr(value, "strftime"):
        return f"{value:%Y-%m-%d}"
    return value if isinstance(value, str | int | float | bool) else None


def described(layers: Mapping[str, Modality]) -> list[dict[str, Any]]:
    """All layers for JSON: pictures first, then values."""
    return [layer_of(layers[name]) for name in sorted(layers, key=lambda key: (layers[key].extent == "image", key))]
