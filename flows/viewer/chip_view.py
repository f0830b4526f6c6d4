"""One chip in the explorer: its facts, and each layer as a picture and as numbers, straight from the store."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from exporters.formats.chip_raster import ChipRaster
from pipeline.chip import ROLES, Chip, Scene
from pipeline.corpus import Corpus
from pipeline.drawing import draw
from pipeline.errors import Fatal, GeocorpusError
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

    corpus: Corpus
    row: int
    _held: dict[str, NDArray[Any]] = field(default_factory=dict, compare=False)

    @property
    def chip(self) -> Chip:
        """The row of the manifest."""
        return self.corpus.manifest[self.row]

    def facts(self) -> dict[str, Any]:
        """Place, dates, scenes, grid, and what is there of each layer, for JSON."""
        chip = self.chip
        location, grid = chip.location, chip.grid
        return {
            "row": self.row, "id": location.id, "lon": location.lon, "lat": location.lat, "split": chip.split,
            "biome": location.biome_name, "ecoregion": location.ecoregion_name, "level": chip.acquisition.level,
            "date": f"{chip.acquisition.date:%Y-%m-%d}", "scenes": _scenes(chip),
            "grid": {"crs": grid.crs, "origin_xy": grid.origin_xy, "shape_yx": grid.shape_yx,
                     "resolution_m": grid.resolution_m},
            "own": {name: _plain(value) for name, value in chip.own.items()},
            "layers": {name: self._said_of(name) for name in sorted(self.corpus.modalities)},
        }  # fmt: skip

    def state(self, name: str) -> dict[str, str | bool]:
        """Whether the chip has a layer (`there`), or why not (`note`); for JSON."""
        shard = self.row // self.corpus.shard_rows
        if shard not in self.corpus.finished(name):
            return {"there": False, "note": _NOT_EXPORTED}
        (entry,) = self.corpus.ledger.without_statistics(name, [shard])
        note = entry.missing.get(self.row)
        return {"there": note is None, "note": note or ""}

    def _said_of(self, name: str) -> dict[str, Any]:
        """Its state, and the values of a layer with one per chip and band, null for nodata."""
        state: dict[str, Any] = self.state(name)
        if self.corpus.modality(name).extent == "pixel" or not state["there"]:
            return state
        try:
            values = np.frombuffer(self.values(name), "<f8").tolist()
        except GeocorpusError as error:
            return {"there": False, "note": f"{error}"}
        return state | {"values": [value if np.isfinite(value) else None for value in values]}

    def _stored(self, name: str) -> NDArray[Any]:
        """Stored values (bands[, y, x]); raises `Fatal` for a shard that is damaged, or not exported yet."""
        modality = self.corpus.modality(name)
        if not self.state(modality.name)["there"]:
            raise Fatal(f"chip {self.row} has no {name}: {self.state(modality.name)['note']}.")
        if name not in self._held:  # a picture and its numbers are asked for one after the other
            self._held[name] = self.corpus.read(name, slice(self.row, self.row + 1))[0]
        return self._held[name]

    def values(self, name: str) -> bytes:
        """(bands[, y, x]) float64, little-endian, NaN for nodata: in units, or the codes of classes."""
        modality, stored = self.corpus.modality(name), self._stored(name)
        units = stored.astype(np.float64) if modality.categories else modality.physical(stored)
        return np.where(modality.valid(stored), units, np.nan).astype("<f8").tobytes()

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
        return _png(draw(modality, self._stored(name), self.chip.grid.resolution_m))

    def raster(self, name: str) -> bytes:
        """The layer as a GeoTIFF, as `convert --to geotiff` writes it, without the side file of classes."""
        stored = self._stored(name)
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
