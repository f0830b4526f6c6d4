"""A map of all chips, each in a colour of its own: what an encoder finds alike looks alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from exporters.plots.figure import LINE, SEA, UNKNOWN, new_figure, publish
from pipeline.equal_earth import equal_earth

_OUTLINE_DEG, _SMALLEST_DEG2 = 0.3, 0.05
# A sample that spans fewer degrees than this is drawn in a frame of its own.
_SMALL_DEG = 60.0


def write_colour_map(path: Path, lonlat: NDArray[Any], rgb: NDArray[Any], title: str, regions: Path | None) -> None:
    """Publish a PNG: chips at `lonlat` (n, 2) degrees in colours `rgb` (n, 3), 0 to 1, grey where that is NaN.

    `regions` is GeoParquet whose outlines lie below, where there is one. Raises `Fatal` where it cannot be written.
    """
    unknown = int(np.isnan(rgb).any(axis=1).sum())
    about = "Three main directions of the embeddings as red, green and blue: like colours, like embeddings"
    figure = new_figure(13, 7.2, title, f"{about}{f'; grey: {unknown:,} chips without one' if unknown else ''}.")
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.88))
    axes.set_aspect("equal")
    axes.axis("off")
    _ground(axes, regions)
    _dots(axes, equal_earth(lonlat), rgb)
    _frame(axes, lonlat)
    publish(figure, path)


def _ground(axes: Axes, regions: Path | None) -> None:
    lat = np.linspace(-90, 90, 181)
    rim = np.concatenate([np.column_stack([np.full(181, 180.0 * side), -side * lat]) for side in (-1, 1)])
    axes.fill(*equal_earth(rim).T, facecolor=SEA, edgecolor=LINE, linewidth=0.6, zorder=0)
    lines = [np.column_stack([np.full(181, lon), lat]) for lon in range(-150, 180, 30)]
    lines += [np.array([[-180.0, south], [180.0, south]]) for south in range(-60, 90, 30)]
    axes.add_collection(LineCollection([equal_earth(line) for line in lines], colors="#e3e7ec", linewidths=0.5))
    if regions is not None and regions.exists():
        axes.add_collection(LineCollection(_outlines(regions), colors=LINE, linewidths=0.3, zorder=1))
    axes.autoscale_view()


def _outlines(regions: Path) -> list[NDArray[np.float64]]:
    shapes = np.asarray(gpd.read_parquet(regions, columns=["geometry"]).geometry.array)
    parts = shapely.get_parts(shapely.simplify(shapes, _OUTLINE_DEG))
    rings = shapely.get_rings(parts[shapely.area(parts) > _SMALLEST_DEG2])
    return [equal_earth(shapely.get_coordinates(ring)) for ring in rings]


def _dots(axes: Axes, xy: NDArray[np.float64], rgb: NDArray[Any]) -> None:
    """In an order that has nothing to do with place, so that no colour lies on top for another reason than chance."""
    known = np.isfinite(rgb).all(axis=1)
    order = np.random.default_rng(0).permutation(len(xy))
    size = float(np.clip(60_000 / max(len(xy), 1), 1.0, 60))
    for which, colours in ((order[~known[order]], UNKNOWN), (order[known[order]], rgb[order[known[order]]])):
        axes.scatter(xy[which, 0], xy[which, 1], s=size, c=colours, linewidths=0, zorder=3)


def _frame(axes: Axes, lonlat: NDArray[Any]) -> None:
    if not len(lonlat) or np.ptp(lonlat, axis=0).max() > _SMALL_DEG:
        return
    xy = equal_earth(lonlat)
    middle, half = (xy.max(axis=0) + xy.min(axis=0)) / 2, np.maximum(np.ptp(xy, axis=0) * 0.55, 0.002)
    axes.set_xlim(middle[0] - half[0], middle[0] + half[0])
    axes.set_ylim(middle[1] - half[1], middle[1] + half[1])
