"""Embeddings as points in a plane, coloured by a column: names get colours of their own, numbers a scale."""

from __future__ import annotations

import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from exporters.plots.figure import INK, LINE, SOFT, UNKNOWN, new_figure, publish

_MOST_NAMES = 12
# Told apart by most people who do not see all colours, from the palettes of Paul Tol.
_COLOURS = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#44bb99", "#bbcc33", "#99ddff",
    "#994455", "#225555",
)  # fmt: skip


def write_cloud(path: Path, xy: NDArray[Any], column: NDArray[Any], name: str, title: str, method: str) -> None:
    """Publish a PNG of points `xy` (n, 2) in the colours of `column` (n,), called `name`; `method` made the plane.

    Texts, booleans and whole numbers of few values are names; other numbers and times have a scale. What is NaN or
    empty is grey. Raises `Fatal` where the file cannot be written.
    """
    about = f"{len(xy):,} chips, {method}: near points have like embeddings, and distances further off mean nothing"
    figure = new_figure(11, 8, title, f"{about}.")
    axes = figure.add_axes((0.03, 0.03, 0.68, 0.85))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(LINE)
    if _is_scale(column):
        _scaled(figure, axes, xy, column, name)
    else:
        _named(figure, axes, xy, np.array([_text(value) for value in column.tolist()]), name)
    publish(figure, path)


def _is_scale(column: NDArray[Any]) -> bool:
    if column.dtype.kind == "M":
        return True
    return column.dtype.kind == "f" or (column.dtype.kind in "iu" and len(np.unique(column)) > _MOST_NAMES)


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value)


def _size(count: int) -> float:
    return float(np.clip(16_000 / max(count, 1), 3, 60))


def _named(figure: Figure, axes: Axes, xy: NDArray[Any], column: NDArray[Any], name: str) -> None:
    """The most frequent names in colours, all others in one grey."""
    counts = Counter(column[column != ""].tolist())
    shown = [text for text, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MOST_NAMES]]
    colour = np.array([_COLOURS[shown.index(text)] if text in shown else UNKNOWN for text in column.tolist()])
    order = np.random.default_rng(0).permutation(len(xy))
    order = np.concatenate([order[colour[order] == UNKNOWN], order[colour[order] != UNKNOWN]])
    axes.scatter(xy[order, 0], xy[order, 1], s=_size(len(xy)), c=colour[order], linewidths=0, alpha=0.9)
    keys = [_key(_COLOURS[at], _wrapped(f"{text} ({counts[text]:,})")) for at, text in enumerate(shown)]
    others = len(column) - sum(counts[text] for text in shown)
    keys += [_key(UNKNOWN, f"others or not known ({others:,})")] if others else []
    figure.legend(
        handles=keys, title=name, loc="upper left", bbox_to_anchor=(0.72, 0.885), frameon=False, fontsize=9.5,
        labelcolor=INK, title_fontproperties={"size": 11, "weight": "bold"}, alignment="left",
    )  # fmt: skip


def _wrapped(text: str) -> str:
    """In two lines at most: names often differ in their last words."""
    return "\n".join(textwrap.wrap(text, 33, max_lines=2, placeholder=" ..."))


def _key(colour: str, label: str) -> Line2D:
    return Line2D([], [], marker="o", linestyle="", color=colour, label=label, markersize=7)


def _scaled(figure: Figure, axes: Axes, xy: NDArray[Any], column: NDArray[Any], name: str) -> None:
    is_time = column.dtype.kind == "M"
    values = np.where(np.isnat(column), np.nan, column.astype("datetime64[D]").astype(float)) if is_time else column
    values = np.asarray(values, float)
    known = np.isfinite(values)
    axes.scatter(xy[~known, 0], xy[~known, 1], s=_size(len(xy)), c=UNKNOWN, linewidths=0)
    low, high = np.percentile(values[known], [2, 98]) if known.any() else (0.0, 1.0)
    drawn = axes.scatter(
        xy[known, 0],
        xy[known, 1],
        s=_size(len(xy)),
        c=values[known],
        cmap=colormaps["viridis"],
        vmin=low,
        vmax=high,
        linewidths=0,
    )
    bar = figure.colorbar(drawn, cax=figure.add_axes((0.745, 0.4, 0.018, 0.44)), extend="both")
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=9, colors=SOFT)
    if is_time:
        bar.ax.yaxis.set_major_formatter(lambda value, _: str(np.datetime64(int(value), "D")))
    figure.text(0.735, 0.87, name, fontsize=11, color=INK, weight="bold")
