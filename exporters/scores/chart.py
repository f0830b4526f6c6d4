"""Scores over the number of labels: one chart per task, with intervals, as PNG and as SVG for light and dark pages."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from pipeline import durable

# Seen on white and on dark grounds; shapes tell them apart as well.
COLOURS = ("#2f7fb5", "#d9822b", "#5a9e4b", "#b05fa8", "#c0504d", "#8a8f3a", "#4aa5a5", "#7d6fb8")
_MARKERS = "osD^vPX*"
_INK, _INK_IN_DARK, _LINE = "#4d585f", "#c3ccd1", "#8b959b"
_DARK = f"<style>@media (prefers-color-scheme:dark){{text{{fill:{_INK_IN_DARK}!important}}}}</style>"
_SIZE_INCHES = (4.6, 3.9)
_DOTS_PER_INCH = 160


@dataclass(frozen=True)
class Line:
    """A score at each of `shots` labels, ascending, with its interval; `name` is in the legend."""

    name: str
    shots: tuple[int, ...]
    means: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]


@dataclass(frozen=True)
class Chart:
    """Lines of a `measure` under a `title`."""

    title: str
    measure: str
    lines: tuple[Line, ...]

    @property
    def summary(self) -> str:
        """The chart in words, for those who do not see it."""
        ends = "; ".join(
            f"{line.name} {line.means[0]:.2f} to {line.means[-1]:.2f}" for line in self.lines if line.means
        )
        shots = self.lines[0].shots if self.lines else (0,)
        return f"{self.title}: {self.measure} from {shots[0]:,} to {shots[-1]:,} labels: {ends}"


def write_chart(folder: Path, name: str, chart: Chart) -> None:
    """Publish `NAME.png`, on white, and `NAME.svg`, without a ground; equal charts give equal files."""
    figure = _figure(chart, "white")
    durable.publish(folder / f"{name}.png", lambda path: FigureCanvasAgg(figure).print_png(str(path)))
    durable.write_text(folder / f"{name}.svg", svg_of(chart))


def svg_of(chart: Chart) -> str:
    """The chart as SVG: text stays text, and is light where the reader's page is dark."""
    stream = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": chart.title}):
        FigureCanvasSVG(_figure(chart, "none")).print_svg(stream, metadata={"Date": None, "Creator": None})
    text = stream.getvalue().decode()
    start = text.index("<svg")
    return text[start:].replace("<defs>", f"{_DARK}<defs>", 1)


def _figure(chart: Chart, ground: str) -> Figure:
    figure = Figure(figsize=_SIZE_INCHES, dpi=_DOTS_PER_INCH, facecolor=ground, layout="constrained")
    axes = figure.add_subplot(facecolor="none")
    for index, line in enumerate(chart.lines):
        _draw(axes, line, COLOURS[index % len(COLOURS)], _MARKERS[index % len(_MARKERS)])
    _frame(axes, chart)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8, labelcolor=_INK)
    return figure


def _draw(axes: Axes, line: Line, colour: str, marker: str) -> None:
    axes.fill_between(line.shots, line.lows, line.highs, color=colour, alpha=0.16, linewidth=0)
    axes.plot(line.shots, line.means, color=colour, marker=marker, markersize=4, linewidth=1.5, label=line.name)


def _frame(axes: Axes, chart: Chart) -> None:
    axes.set_xscale("log")
    shots = sorted({count for line in chart.lines for count in line.shots})
    axes.xaxis.set_major_locator(FixedLocator(_apart(shots)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
    axes.set_xlabel("labels", color=_INK, fontsize=9)
    axes.set_ylabel(chart.measure, color=_INK, fontsize=9)
    axes.set_title(chart.title, color=_INK, fontsize=10, loc="left")
    axes.set_ylim(*_range(chart.lines))
    axes.tick_params(colors=_INK, labelsize=8)
    axes.grid(visible=True, color=_LINE, alpha=0.3, linewidth=0.6)
    for side in axes.spines.values():
        side.set_color(_LINE)


def _apart(shots: Sequence[int]) -> list[int]:
    """Those whose numbers have room beside each other; the last always."""
    kept = [count for count in shots[:-1] if count <= shots[-1] / 1.7]
    return [*kept, shots[-1]]


def _range(lines: Sequence[Line]) -> tuple[float, float]:
    """All means, and of intervals what does not make them small: with few labels R2 has no lower end."""
    means = [mean for line in lines for mean in line.means if mean == mean] or [0.0, 1.0]
    low, high = max(min(means), -0.5), max(means)
    room = 0.08 * max(high - low, 0.05)
    return low - room, high + room
