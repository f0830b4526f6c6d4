"""STAC 1.1 of a folder of rasters: an item per chip, a catalogue per thousand, one collection."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import shapely
from rasterio.crs import CRS
from shapely import MultiPolygon, Polygon

from exporters.formats.chip_facts import chip_facts, utc_text
from exporters.formats.chip_raster import transform_of
from exporters.formats.raster_names import catalog_path, chip_name, part_name, raster_path
from pipeline.chip import Chip
from pipeline.grid import Grid
from pipeline.licence import common_identifier
from pipeline.modality import Modality

VERSION = "1.1.0"
COLLECTION_ID, BEGINS = "chips", "Chips of a corpus."  # by which the collection is known again
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
_EXTENSIONS = [
    PROJECTION,
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
]
_PREFIX = "geocorpus:"
_JSON, _GEOJSON, _VRT = "application/json", "application/geo+json", "application/x-gdal-vrt"


@dataclass
class Extent:
    """The union of chips: degrees, and first and last time as text."""

    west: float = math.inf
    south: float = math.inf
    east: float = -math.inf
    north: float = -math.inf
    times: list[str] = field(default_factory=list)

    def add(self, item: Mapping[str, Any]) -> None:
        """Widen it by an item."""
        west, south, east, north = item["bbox"]
        if west > east:  # across the antimeridian
            west, east = -180.0, 180.0
        self.west, self.south = min(self.west, west), min(self.south, south)
        self.east, self.north = max(self.east, east), max(self.north, north)
        times = sorted({*self.times, item["properties"]["datetime"]})
        self.times = [times[0], times[-1]]

    def plain(self) -> dict[str, Any]:
        """As a collection has it."""
        bbox = [self.west, self.south, self.east, self.north]
        return {"spatial": {"bbox": [bbox]}, "temporal": {"interval": [self.times]}}


def item(chip: Chip, layers: Sequence[Modality], media_type: str) -> dict[str, Any]:
    """The item of a chip, as it lies at `item_path`, with an asset for each of `layers`."""
    geometry, bbox = _outline(chip.grid)
    facts = {f"{_PREFIX}{key}": value for key, value in chip_facts(chip).items()}
    return {
        "type": "Feature", "stac_version": VERSION, "stac_extensions": _EXTENSIONS, "id": chip_name(chip),
        "collection": COLLECTION_ID, "geometry": geometry, "bbox": bbox,
        "properties": {"datetime": utc_text(chip.acquisition.date), **facts, **_projection(chip.grid)},
        "links": [
            _link("root", "../../collection.json"), _link("collection", "../../collection.json"),
            _link("parent", f"../{part_name(chip.row)}.json"),
        ],
        "assets": {modality.name: _asset(chip, modality, media_type) for modality in layers},
    }  # fmt: skip


def part_catalog(name: str, chips: Iterable[str]) -> dict[str, Any]:
    """The catalogue of the part called `name`, as it lies at `catalog_path`; `chips` are the names of its items."""
    items = [_link("item", f"./{name}/{chip}.json", _GEOJSON) for chip in chips]
    up = [_link("root", "../collection.json"), _link("parent", "../collection.json")]
    return {"type": "Catalog", "stac_version": VERSION, "id": f"chips-{name}", "description": f"Chips of part {name}.",
            "links": [*up, *items]}  # fmt: skip


def collection(
    parts: Sequence[str], mosaics: Sequence[str], extent: Extent, layers: Sequence[Modality]
) -> dict[str, Any]:
    """The collection at the root of the folder, of the catalogues of `parts` and with `mosaics`, paths of VRTs."""
    links = [_link("root", "./collection.json"), *(_link("child", f"./{catalog_path(part)}") for part in parts)]
    titles = "; ".join(f"{layer.name}: {layer.title}" for layer in layers)
    return {
        "type": "Collection", "stac_version": VERSION, "id": COLLECTION_ID,
        "description": f"{BEGINS} {titles}.",
        "license": _licence(layers), "extent": extent.plain(), "links": [*links, *_licence_links(layers)],
        "assets": {PurePosixPath(path).stem: _mosaic_asset(path) for path in mosaics},
    }  # fmt: skip


def _licence(layers: Sequence[Modality]) -> str:
    """The SPDX identifier that all layers have; "other" where they differ, or one of them has none."""
    return common_identifier(layer.licence for layer in layers) or "other"


def _licence_links(layers: Sequence[Modality]) -> list[dict[str, str]]:
    known = {layer.licence.url: layer.licence.name for layer in layers if layer.licence and layer.licence.url}
    return [{"rel": "license", "href": url, "title": name} for url, name in sorted(known.items())]


def _mosaic_asset(path: str) -> dict[str, Any]:
    return {"href": f"./{path}", "type": _VRT, "roles": ["data"]}


def _link(relation: str, href: str, media_type: str = _JSON) -> dict[str, str]:
    return {"rel": relation, "href": href, "type": media_type}


def _projection(grid: Grid) -> dict[str, Any]:
    code = authority_code(grid.crs)
    named = {"proj:code": code} if code else {
        "proj:code": None, "proj:wkt2": CRS.from_user_input(grid.crs).to_wkt(version="WKT2_2019")
    }  # fmt: skip
    return {**named, "proj:shape": list(grid.shape_yx), "proj:transform": list(grid.transform),
            "proj:bbox": list(grid.bounds_xy)}  # fmt: skip


def authority_code(crs: str) -> str | None:
    """The code of a CRS, such as "EPSG:32632"; None for one that no authority knows."""
    authority = CRS.from_user_input(crs).to_authority()
    return ":".join(authority) if authority else None


def _asset(chip: Chip, modality: Modality, media_type: str) -> dict[str, Any]:
    asset = {
        "href": f"../../{raster_path(modality.name, chip)}", "type": media_type, "title": modality.title,
        "roles": ["data"], "bands": bands_of(modality),
    }  # fmt: skip
    if modality.extent == "pixel":
        return asset
    return asset | {"proj:shape": [1, 1], "proj:transform": list(transform_of(chip.grid, modality)[:6])}


def bands_of(modality: Modality) -> list[dict[str, Any]]:
    """The bands of a layer with dtype, nodata, unit, scale and classes."""
    nodata = modality.fill.item()
    shared: dict[str, Any] = {"data_type": modality.dtype, "nodata": "nan" if nodata != nodata else nodata}
    if (modality.scale, modality.offset) != (1.0, 0.0):
        shared |= {"raster:scale": modality.scale, "raster:offset": modality.offset}
    if modality.categories:
        shared["classification:classes"] = [
            {"value": category.code, "name": f"class_{category.code}", "description": category.name}
            for category in modality.categories
        ]
    return [{"name": band.name, "description": band.long_name or band.name, "unit": band.units} | shared
            for band in modality.bands]  # fmt: skip


def _outline(grid: Grid) -> tuple[dict[str, Any], list[float]]:
    """Footprint and box (west, south, east, north) in degrees; cut at the antimeridian, where west is above east."""
    outline = grid.footprint()
    west, south, east, north = outline.bounds
    if east <= 180:
        return shapely.geometry.mapping(outline), [west, south, east, north]
    return shapely.geometry.mapping(cut_outline(outline)), [west, south, east - 360, north]


def cut_outline(outline: Polygon) -> MultiPolygon:
    """An outline that runs beyond 180 degrees, in two parts that do not."""
    here = outline.intersection(shapely.box(-180, -90, 180, 90))
    there = outline.intersection(shapely.box(180, -90, 540, 90))
    moved = shapely.transform(there, lambda xy: xy - [360, 0])
    return MultiPolygon([piece for piece in (here, moved) if isinstance(piece, Polygon)])
