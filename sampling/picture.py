"""A picture of a sample: a map, bars per biome and split, and the reasons why candidates were refused."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from pipeline import durable
from pipeline.equal_earth import equal_earth
from pipeline.manifest import SPLITS
from sampling.regions import Regions
from sampling.sample import Sample

_INK, _SOFT, _LINE, _SEA = "#1d2733", "#5d6875", "#b9c0c8", "#f4f6f8"
_SPLIT_COLOURS = {"train": "#4477aa", "val": "#ddaa33", "test": "#bb5566"}
_DENSITY = "viridis_r"
_FEW = 4000  # Up to so many points are drawn as dots, more as density.
_MOST_BARS = 16
_MOST_DETAILS = 12
_OUTLINE_DEG = 0.2
# Samples that span fewer degrees than this are drawn larger.
_SMALL_DEG = 60.0
_DOTS_PER_INCH = 110
_EARTH_KM2_PER_UNIT = 6371.0072**2


def write_picture(path: Path, sample: Sample, regions: Regions | None) -> None:
    """Publish the picture as PNG; equal samples give equal pictures. Raises `Fatal` when it cannot be written."""
    figure = draw_picture(sample, regions)
    durable.publish(path, lambda temporary: FigureCanvasAgg(figure).print_png(str(temporary)))


def draw_picture(sample: Sample, regions: Regions | None) -> Figure:
    """The figure: the map above, bars and text below."""
    figure = Figure(figsize=(13, 10.6), dpi=_DOTS_PER_INCH, facecolor="white")
    chosen = sample.chosen()
    figure.suptitle(
        f"{len(chosen):,} locations in {chosen['stratum'].nunique():,} strata",
        x=0.03, ha="left", fontsize=17, color=_INK, weight="bold",
    )  # fmt: skip
    if _are_small(chosen):
        _map(figure, figure.add_axes((0.01, 0.39, 0.43, 0.53)), chosen, regions)
        _details(figure, chosen)
    else:
        _map(figure, figure.add_axes((0.02, 0.385, 0.93, 0.56)), chosen, regions)
    # The space left of the bars is for their names.
    _bars(figure.add_axes((0.285, 0.05, 0.215, 0.3)), chosen)
    _text(figure.add_axes((0.53, 0.05, 0.46, 0.315)), sample, chosen)
    return figure


def _map(figure: Figure, axes: Axes, chosen: pd.DataFrame, regions: Regions | None) -> None:
    lonlat = np.column_stack([chosen["lon"], chosen["lat"]])
    axes.set_aspect("equal")
    axes.axis("off")
    frame = _frame(lonlat)
    _globe(axes)
    if regions is not None:
        _outlines(axes, regions)
    xy = equal_earth(lonlat)
    if len(xy) <= _FEW or _are_small(chosen):
        _dots(axes, xy, np.asarray(chosen["split"].astype(str)))
    else:
        _density(figure, axes, xy)
    if frame is not None:
        axes.set_xlim(frame[0], frame[2])
        axes.set_ylim(frame[1], frame[3])


def _are_small(chosen: pd.DataFrame) -> bool:
    """Whether the strata are a few small areas, far from each other; then each has a map of its own."""
    if not 2 <= chosen["stratum"].nunique() <= _MOST_DETAILS:
        return False
    spans = chosen.groupby("stratum", observed=True)["lat"].agg(np.ptp)
    whole = max(np.ptp(chosen["lat"]), np.ptp(chosen["lon"]))
    return bool(spans.max() < _SMALL_DEG / 2 and whole > 3 * spans.max())


def _details(figure: Figure, chosen: pd.DataFrame) -> None:
    """A small map of each stratum, with its locations in the colours of their splits."""
    parts = list(chosen.groupby("stratum", observed=True))
    columns = min(4, len(parts))
    rows = -(-len(parts) // columns)
    grid = figure.add_gridspec(rows, columns, left=0.46, right=0.985, top=0.9, bottom=0.42, wspace=0.08, hspace=0.25)
    for at, (_, part) in enumerate(parts):
        _detail(figure.add_subplot(grid[at // columns, at % columns]), part)


def _detail(axes: Axes, part: pd.DataFrame) -> None:
    # Longitudes are continuous across the antimeridian.
    lon = np.unwrap(np.asarray(part["lon"]), period=360)
    lat = np.asarray(part["lat"])
    axes.set_aspect(1 / np.cos(np.radians(np.clip(lat.mean(), -85, 85))))
    colours = [_SPLIT_COLOURS[str(name)] for name in part["split"]]
    axes.scatter(lon, lat, s=float(np.clip(9000 / len(part), 0.7, 14)), c=colours, linewidths=0)
    title = textwrap.shorten(str(part["ecoregion_name"].iloc[0]), 24, placeholder=" ...")
    axes.set_title(f"{title}\n{len(part):,}", fontsize=9.5, color=_INK)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(_LINE)


def _frame(lonlat: NDArray[Any]) -> tuple[float, float, float, float] | None:
    """West, south, east and north on the map of a small sample, with a margin; None for the whole Earth."""
    low, high = lonlat.min(axis=0), lonlat.max(axis=0)
    if (high - low).max() > _SMALL_DEG:
        return None
    xy = equal_earth(lonlat)
    margin = 0.12 * max((xy.max(axis=0) - xy.min(axis=0)).max(), 0.02)
    (west, south), (east, north) = xy.min(axis=0) - margin, xy.max(axis=0) + margin
    return float(west), float(south), float(east), float(north)


def _globe(axes: Axes) -> None:
    lat = np.linspace(-90, 90, 181)
    sides = [np.column_stack([np.full(181, 180.0 * side), -side * lat]) for side in (-1, 1)]
    rim = np.concatenate(sides)
    axes.fill(*equal_earth(rim).T, facecolor=_SEA, edgecolor=_LINE, linewidth=0.6, zorder=0)
    lines = [np.column_stack([np.full(181, lon), lat]) for lon in range(-150, 180, 30)]
    lines += [np.array([[-180.0, south], [180.0, south]]) for south in range(-60, 90, 30)]
    drawn = [equal_earth(line) for line in lines]
    axes.add_collection(LineCollection(drawn, colors="#e3e7ec", linewidths=0.5, zorder=0))
    axes.autoscale_view()


def _outlines(axes: Axes, regions: Regions) -> None:
    parts = shapely.get_parts(shapely.simplify(np.asarray(regions.frame.geometry.array), _OUTLINE_DEG))
    rings = shapely.get_rings(parts[shapely.area(parts) > 0.02])
    paths = [equal_earth(line) for ring in rings for line in _cut_at_antimeridian(shapely.get_coordinates(ring))]
    axes.add_collection(LineCollection(paths, colors=_LINE, linewidths=0.25, zorder=1))


def _cut_at_antimeridian(lonlat: NDArray[Any]) -> list[NDArray[Any]]:
    """The parts of a ring between its crossings of the antimeridian."""
    lon = (lonlat[:, 0] + 180) % 360 - 180
    # A vertex on the antimeridian stays on the side that its ring is on.
    lon = np.where(np.abs(lonlat[:, 0]) <= 180, lonlat[:, 0], lon)
    cuts = np.flatnonzero(np.abs(np.diff(lon)) > 180) + 1
    return [part for part in np.split(np.column_stack([lon, lonlat[:, 1]]), cuts) if len(part) > 1]


def _dots(axes: Axes, xy: NDArray[Any], split: NDArray[Any]) -> None:
    size = float(np.clip(9000 / max(len(xy), 1), 4, 40))
    for name in SPLITS:
        x, y = xy[split == name].T
        axes.scatter(x, y, s=size, c=_SPLIT_COLOURS[name], linewidths=0, alpha=0.85, zorder=3, label=name)
    axes.legend(loc="lower left", frameon=False, fontsize=10, labelcolor=_INK, markerscale=max(1.0, 4 / size**0.5))


def _density(figure: Figure, axes: Axes, xy: NDArray[Any]) -> None:
    """Counts per hexagon; the projection is equal-area, so all hexagons have the same area on the ground."""
    across = float(np.ptp(xy[:, 0]))
    size = int(np.clip(np.sqrt(len(xy)) / 2.2, 60, 240) * max(across / 5.4, 0.3))
    hexagons = axes.hexbin(*xy.T, gridsize=size, mincnt=1, cmap=_DENSITY, linewidths=0, zorder=2)
    width = across / size
    each_km2 = width**2 * np.sqrt(3) / 2 * _EARTH_KM2_PER_UNIT
    density = np.asarray(hexagons.get_array()) / each_km2 * 10_000
    hexagons.set_array(density)
    hexagons.set_norm(LogNorm(*np.percentile(density, [2, 99.8])))
    bar = figure.colorbar(hexagons, cax=axes.inset_axes((0.985, 0.2, 0.011, 0.6)), extend="both")
    bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    bar.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.set_label("locations per 10,000 km²", color=_SOFT, fontsize=10)
    bar.ax.tick_params(labelsize=9, colors=_SOFT)
    bar.outline.set_visible(False)


def _bars(axes: Axes, chosen: pd.DataFrame) -> None:
    """Locations per biome, or per stratum if there is only one biome, in the colours of their splits."""
    column = "biome_name" if chosen["biome_name"].nunique() > 1 else "ecoregion_name"
    title = "Locations per biome" if column == "biome_name" else "Locations per region"
    counts = pd.crosstab(chosen[column].astype(str).replace("", "no biome"), chosen["split"].astype(str))
    counts = counts.reindex(columns=list(SPLITS), fill_value=0)
    counts = counts.loc[counts.sum(axis=1).sort_values(ascending=False, kind="stable").index[:_MOST_BARS]][::-1]
    left = np.zeros(len(counts))
    for name in SPLITS:
        axes.barh(range(len(counts)), counts[name], left=left, color=_SPLIT_COLOURS[name], height=0.72, label=name)
        left += np.asarray(counts[name])
    axes.set_yticks(range(len(counts)), [textwrap.shorten(str(name), 58, placeholder=" ...") for name in counts.index])
    for y, total in enumerate(left):
        axes.text(total, y, f" {int(total):,}", va="center", fontsize=8.5, color=_SOFT)
    axes.set_xlim(0, max(left.max(initial=1), 1) * 1.16)
    axes.set_ylim(len(counts) - max(len(counts), 7) - 0.6, len(counts) - 0.4)
    axes.set_title(title, loc="left", fontsize=11.5, color=_INK, weight="bold")
    axes.tick_params(axis="y", labelsize=8.5, colors=_INK, length=0)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, -0.13), ncols=3, frameon=False, fontsize=9.5, labelcolor=_INK)


def _text(axes: Axes, sample: Sample, chosen: pd.DataFrame) -> None:
    """Splits, reasons and notes, one below the other."""
    axes.axis("off")
    fractions = chosen["split"].astype(str).value_counts(normalize=True)
    lines = [("Splits", [f"{name}: {fractions.get(name, 0):.1%}" for name in SPLITS])]
    if sample.refused:
        reasons = [f"{count:,}: {reason}" for reason, count in sample.refused.items()]
        lines.append(("Passed over, and replaced where there was room", reasons))
    spare = len(sample.table) - len(chosen)
    lines.append(("Spare candidates, for places without a usable scene", [f"{spare:,}"]))
    if sample.notes:
        lines.append(("Repaired or left out", list(sample.notes)))
    y = 1.0
    for heading, texts in lines:
        axes.text(0.05, y, heading, fontsize=11.5, weight="bold", color=_INK, va="top", transform=axes.transAxes)
        y -= 0.065
        for text in texts:
            wrapped = textwrap.wrap(text, 74)
            axes.text(0.05, y, "\n".join(wrapped), fontsize=9.5, color=_SOFT, va="top", transform=axes.transAxes)
            y -= 0.052 * len(wrapped)
        y -= 0.035
