"""The map of the report: where the chips are, over the outlines of the regions, in the Equal Earth projection."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from exporters.report.facts import Count
from pipeline.equal_earth import HALF_WIDTH, equal_earth
from pipeline.errors import Fatal
from pipeline.manifest import Manifest

REGIONS = "regions.parquet"
# More points would hide each other: above, a dot stands for all chips of a cell.
MOST_POINTS = 20_000
_WIDTH, _HEIGHT = 1000.0, 487.0
_SCALE = (_WIDTH / 2 - 2) / HALF_WIDTH  # pixels per radius of the Earth
_OUTLINE_DEG = 0.35
_SMALLEST_DEG2 = 0.15
# Cells lie like bricks, so that dots show no columns; the projection keeps areas, so that size is density.
_CELL_PX = 4.0
_ROW_PX = _CELL_PX * 0.75**0.5
_SIZES = 8
# The densest cells, which are few, get no larger dots, so that those of the others differ.
_LARGEST_SHARE = 0.99
_EARTH_KM = 6371.0
CELL_KM2 = round(_CELL_PX * _ROW_PX * (_EARTH_KM / _SCALE) ** 2, -2)
# RESOLVE's hues by biome number, less saturated, so that fourteen fit on a page; 0 is "not known".
_COLOURS = (
    "#8a8f98", "#3f9142", "#b5b548", "#84bf62", "#14705a", "#4f9079", "#6a9fd8", "#e59a2b", "#dccb45",
    "#79bfe0", "#b3966a", "#74c0aa", "#d04a45", "#b96a63", "#c2479c",
)  # fmt: skip


def colour_of(biome: int) -> str:
    """The colour of a biome number on the page."""
    return _COLOURS[biome] if 0 <= biome < len(_COLOURS) else _COLOURS[0]


def on_page(lonlat: NDArray[Any]) -> NDArray[np.float64]:
    """Page coordinates x, y, (n, 2) float64 in pixels, of longitudes and latitudes, (n, 2) in degrees."""
    return np.array([_WIDTH / 2, _HEIGHT / 2]) + equal_earth(lonlat) * [_SCALE, -_SCALE]


def world_map(folder: Path, manifest: Manifest, biomes: list[Count]) -> str:
    """The map as inline SVG. Raises `Fatal` when the regions cannot be read."""
    summary = ", ".join(f"{item.label}: {item.count:,}" for item in biomes)
    return (
        f'<svg class="map" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" '
        f'aria-label="{escape(f"World map of {len(manifest):,} chips by biome. {summary}")}">'
        f'<path class="sea" d="{_globe()}"/>{_regions(folder)}<path class="graticule" d="{_graticule()}"/>'
        f"{_points(manifest) if len(manifest) <= MOST_POINTS else _density(manifest)}</svg>"
    )


def _globe() -> str:
    lat = np.linspace(-90, 90, 61)
    east, west = np.column_stack([lat * 0 + 180, lat]), np.column_stack([lat * 0 - 180, lat[::-1]])
    return _path(on_page(np.concatenate([east, west])), close=True)


def _graticule() -> str:
    lat, lon = np.linspace(-90, 90, 61), np.linspace(-180, 180, 3)
    meridians = [np.column_stack([lat * 0 + at, lat]) for at in range(-150, 180, 30)]
    parallels = [np.column_stack([lon, lon * 0 + at]) for at in range(-60, 90, 30)]
    return "".join(_path(on_page(line), close=False) for line in meridians + parallels)


def _regions(folder: Path) -> str:
    path = folder / REGIONS
    if not path.exists():
        return ""
    try:
        frame = gpd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise Fatal(f"{path} cannot be read as GeoParquet ({error}); delete it or sample again.") from error
    biome = np.asarray(frame["BIOME_NUM"]).astype(int)
    shapes = np.asarray(frame.geometry.array)
    return "".join(_biome_shape(number, shapes[biome == number]) for number in np.unique(biome).tolist())


def _biome_shape(number: int, shapes: NDArray[Any]) -> str:
    parts = shapely.get_parts(shapely.simplify(shapes, _OUTLINE_DEG))
    parts = shapely.transform(parts[shapely.area(parts) > _SMALLEST_DEG2], on_page)
    rings = [shapely.get_coordinates(ring) for ring in shapely.get_rings(parts)]
    outlines = "".join(_path(ring, close=True) for ring in rings if len(ring) > 3)
    return f'<path class="region" fill="{colour_of(number)}" stroke="{colour_of(number)}" d="{outlines}"/>'


def _path(xy: NDArray[np.float64], close: bool) -> str:
    """SVG path data with relative steps, rounded to tenths of a pixel, without steps of zero length."""
    tenths = np.round(xy * 10).astype(int)
    steps = np.diff(tenths, axis=0)
    moves = " ".join(f"{x / 10:g},{y / 10:g}" for x, y in steps[(steps != 0).any(axis=1)].tolist())
    if not moves:
        return ""
    return f"M{tenths[0][0] / 10:g},{tenths[0][1] / 10:g}l{moves}" + ("z" if close else "")


def _points(manifest: Manifest) -> str:
    """One group of dots per biome; a line of zero length with a round cap is the shortest SVG for a dot."""
    lonlat = np.column_stack([manifest.column("lon"), manifest.column("lat")]).astype(np.float64)
    biome = manifest.column("biome").astype(int)
    size = float(np.clip(90 / np.sqrt(len(lonlat)), 1.6, 7.0))
    xy = on_page(lonlat)
    halo = f'<path class="halo" stroke-width="{size + 1.4:.1f}" d="{_dots(xy)}"/>'
    return halo + "".join(
        f'<path class="dots" stroke="{colour_of(number)}" stroke-width="{size:.1f}" d="{_dots(xy[biome == number])}"/>'
        for number in np.unique(biome).tolist()
    )


def _density(manifest: Manifest) -> str:
    """A dot per cell with chips, by biome and size; its area is the number of chips."""
    counts = _cell_counts(manifest)
    cells, total = np.flatnonzero(counts.any(axis=1)), counts.sum(axis=1)
    largest = np.quantile(total[cells], _LARGEST_SHARE, method="higher")
    size = np.ceil(_SIZES * np.sqrt(np.minimum(1, total[cells] / largest))).astype(int)
    biome = counts[cells].argmax(axis=1)
    xy = _cell_centres(cells)
    return "".join(
        f'<path class="dots" stroke="{colour_of(number)}" stroke-width="{_CELL_PX * step / _SIZES:.1f}" '
        f'd="{_dots(xy[(biome == number) & (size == step)])}"/>'
        for number in np.unique(biome).tolist()
        for step in np.unique(size[biome == number]).tolist()
    )


def _cell_counts(manifest: Manifest) -> NDArray[np.int64]:
    """Chips (cells, biomes) in every cell of the page, row by row."""
    columns, rows = _cells_xy()
    counts = np.zeros((columns * rows, len(_COLOURS)), dtype=np.int64)
    for lon, lat, biome in manifest.pieces("lon", "lat", "biome"):
        known = np.where((biome >= 0) & (biome < len(_COLOURS)), biome, 0).astype(int)
        np.add.at(counts, (_cell_of(on_page(np.column_stack([lon, lat]))), known), 1)
    return counts


def _cells_xy() -> tuple[int, int]:
    return int(_WIDTH / _CELL_PX) + 2, int(_HEIGHT / _ROW_PX) + 2


def _cell_of(xy: NDArray[np.float64]) -> NDArray[np.int64]:
    """The cell (n,) of page coordinates (n, 2); every other row is half a cell further right."""
    row = np.floor(xy[:, 1] / _ROW_PX).astype(np.int64)
    column = np.floor(xy[:, 0] / _CELL_PX + (1 - row % 2) / 2).astype(np.int64)
    return np.asarray(row * _cells_xy()[0] + column)


def _cell_centres(cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """Page coordinates (n, 2) of the middle of cells (n,): the inverse of `_cell_of`."""
    row, column = np.divmod(cells, _cells_xy()[0])
    return np.column_stack([(column + row % 2 / 2) * _CELL_PX, (row + 0.5) * _ROW_PX])


def _dots(xy: NDArray[np.float64]) -> str:
    return "".join(f"M{x:.1f},{y:.1f}h0" for x, y in xy.tolist())
