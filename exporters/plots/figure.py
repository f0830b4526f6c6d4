"""What the figures share: their inks, and how one becomes a file."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline import durable

INK, SOFT, LINE, SEA, UNKNOWN = "#1d2733", "#5d6875", "#b9c0c8", "#f4f6f8", "#c9ced4"
DOTS_PER_INCH = 110


def new_figure(width_in: float, height_in: float, title: str, about: str) -> Figure:
    """A white figure with a title and a line below it."""
    figure = Figure(figsize=(width_in, height_in), dpi=DOTS_PER_INCH, facecolor="white")
    figure.suptitle(title, x=0.03, y=0.975, ha="left", va="top", fontsize=15, color=INK, weight="bold")
    figure.text(0.03, 0.975 - 0.36 / height_in, about, fontsize=10, color=SOFT, ha="left", va="top")
    return figure


def publish(figure: Figure, path: Path) -> None:
    """Publish as PNG; equal figures give equal bytes. Raises `Fatal` when it cannot be written."""
    durable.publish(path, lambda temporary: FigureCanvasAgg(figure).print_png(str(temporary)))
