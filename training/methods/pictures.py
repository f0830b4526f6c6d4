"""Pictures of a run: a few fixed chips, layer by layer, as stored, as masked for the encoder, and as predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline import durable
from pipeline.drawing import Picture, draw_all
from pipeline.modality import Modality
from training.layer import Layer
from training.model.losses import patch_moments
from training.model.normalisation import Normalisation
from training.runtime.device import Device
from training.sample import Sample

_LINES = ("as it is", "as the encoder\nsees it", "hidden patches\nas predicted")
_HIDDEN = (92, 99, 112)  # A slate colour that occurs neither in grey images nor in the nodata pattern.
_INK, _SOFT, _WRONG = "#1d2733", "#5d6875", "#b03a2e"
_PANEL_INCHES, _TEXT_INCHES, _SIDE_INCHES, _TOP_INCHES = 1.25, 4.4, 1.05, 0.75
_DOTS_PER_INCH = 100
_LINE_INCHES = 0.135
_NOTHING = 1e-12  # the sine of pi is not exactly zero in floating point
_MOST_NUMBERS, _MOST_LETTERS = 4, 58


class Pictures:
    """Draws the predictions of a model for the same few chips, into `folder`."""

    def __init__(
        self, sample: Sample, inputs: Sequence[Layer], targets: Sequence[Layer], patch_px: int, folder: Path
    ) -> None:
        self._sample, self._inputs, self._targets = sample, tuple(inputs), tuple(targets)
        self._patch_px, self._folder = patch_px, folder

    def draw(self, model: nn.Module, device: Device, step: int) -> Picture:
        """Write `step-00000500.png` and return its pixels (y, x, 3) uint8; model and random state are unchanged."""
        trained = model.training
        model.eval()
        with torch.inference_mode(), device.autocast():
            predictions = [item.float().cpu() for item in model(self._sample.batch.to(device.place))]
        model.train(trained)
        figure = self._figure(predictions, step)
        canvas = FigureCanvasAgg(figure)
        path = self._folder / f"step-{step:08d}.png"
        durable.publish(path, lambda temporary: canvas.print_png(str(temporary)))
        return np.asarray(canvas.buffer_rgba(), dtype=np.uint8)[..., :3]

    def _figure(self, predictions: Sequence[Tensor], step: int) -> Figure:
        targets = self._targets
        result = {layer.name: reconstruct(layer, prediction, self._sample, self._patch_px)
                 for layer, prediction in zip(targets, predictions, strict=True) if layer.pixel}  # fmt: skip
        words = [(layer, prediction.numpy()) for layer, prediction in zip(targets, predictions, strict=True)
                 if not layer.pixel]  # fmt: skip
        chips = [self._columns(index, result) for index in range(len(self._sample.names))]
        page = _Page(len(chips), max(map(len, chips)), bool(words))
        page.title(f"step {step}", self._explained())
        for index, columns in enumerate(chips):
            page.name(index, self._sample.names[index])
            for column, panels in enumerate(columns):
                page.panels(index, column, panels)
            if words:
                page.words(index, [_words(layer, prediction, self._sample, index) for layer, prediction in words])
        return page.figure

    def _explained(self) -> str:
        hidden = 1 - self._sample.batch.visible.double().mean().item()
        return (
            f"{hidden:.0%} of the patches are hidden from the encoder (dark); the last line of a chip shows these as "
            "predicted and the others as they are. Off by: the mean error of hidden pixels, taken out of the picture. "
            "Checkers: no data. Right: truth / prediction, wrong classes red."
        )

    def _columns(self, index: int, reconstructed: dict[str, NDArray[Any]]) -> list[_Panels]:
        visible = np.kron(self._sample.batch.visible[index].numpy(), np.ones((self._patch_px,) * 2)) > 0
        layers = {layer.name: layer for layer in (*self._inputs, *self._targets) if layer.pixel}
        inputs = {layer.name for layer in self._inputs}
        columns = []
        for name, layer in layers.items():
            truth = self._sample.stored[name][index]
            seen = visible if name in inputs else None
            if name not in reconstructed:
                columns += _panels(layer, truth, None, seen)
                continue
            guess, off = _levelled(layer, truth, reconstructed[name][index], ~visible)
            columns += _panels(layer, truth, np.where(visible, truth, guess), seen, off)
        return columns


def reconstruct(layer: Layer, prediction: Tensor, sample: Sample, patch_px: int) -> NDArray[Any]:
    """A prediction (rows, channels, y, x) as (rows, bands, y, x) in the stored dtype, nodata where the truth is nodata.

    Classes: the most probable one. Numbers: the normalisation is inverted. Where targets are normalised per patch, the
    moments of the true patch are used first, so the picture takes brightness and contrast of a patch from the truth.
    """
    valid = sample.batch.valid[layer.name]
    if layer.classes:
        prediction = prediction.unflatten(1, (layer.classes, -1)).argmax(dim=1)
    elif layer.modality.patch_normalised:
        mean, std = patch_moments(sample.batch.values[layer.name], valid, patch_px)
        prediction = prediction * std + mean
    values = layer.stored(prediction.numpy(), sample.groups[layer.name])
    return np.where(valid.numpy(), values, layer.modality.fill)


def _levelled(
    layer: Layer, truth: NDArray[Any], guess: NDArray[Any], hidden: NDArray[np.bool_]
) -> tuple[NDArray[Any], str]:
    """A prediction (bands, y, x) moved to the level of the truth in hidden pixels, and by how much in words.

    Only where the stretch is that of the chip: one for both would show two levels, and the relief of neither.
    """
    modality = layer.modality
    display = modality.display
    stretched = display.style == "hillshade" or (display.style in ("none", "grey") and display.high <= display.low)
    known = modality.valid(truth) & hidden
    if layer.classes or not stretched or not known.any():
        return guess, ""
    offsets = [float((guess[band][where].astype(float) - truth[band][where]).mean()) if where.any() else 0.0
               for band, where in enumerate(known)]  # fmt: skip
    kind = guess.dtype
    moved = guess - np.array(offsets).reshape(-1, 1, 1)
    moved = np.round(moved) if kind.kind in "iu" else moved
    levelled = np.where(modality.valid(truth), moved, guess).astype(kind)
    units = modality.bands[layer.bands[0]].units.removesuffix("1")
    off = offsets[0] * modality.scale
    return levelled, f"off by {off:+,.0f} {units}".rstrip() if abs(
        off
    ) >= 1000 else f"off by {off:+.3g} {units}".rstrip()


@dataclass(frozen=True)
class _Panels:
    """One column of a chip: its title and a picture per line of `_LINES`, None where there is no picture."""

    title: str
    pictures: tuple[Picture | None, Picture | None, Picture | None]


def _panels(
    layer: Layer,
    truth: NDArray[Any],
    predicted: NDArray[Any] | None,
    visible: NDArray[np.bool_] | None,
    off: str = "",
) -> list[_Panels]:
    """One column per picture of the modality's display; `visible` (y, x) bool only for an input.

    `off` says by how much a prediction was moved to the level of the truth.
    """
    modality = _without_shading(Normalisation.of([layer]).layers[0].modality)
    width = truth.shape[-1]
    # Side by side, so that truth and prediction have the same contrast stretch.
    both = truth if predicted is None else np.concatenate([truth, predicted], axis=-1)
    result = []
    for band, picture in draw_all(modality, both):
        real, guess = picture[:, :width], None if predicted is None else picture[:, width:]
        masked = None if visible is None else np.where(visible[..., None], real, np.array(_HIDDEN, dtype=np.uint8))
        result.append(_Panels(_title(modality, band) + (f"\n{off}" if off else ""), (real, masked, guess)))
    return result


def _without_shading(modality: Modality) -> Modality:
    """Heights in grey: with shading, small steps between patches would look like cliffs."""
    if modality.display.style != "hillshade":
        return modality
    return replace(modality, display=replace(modality.display, style="grey", low=0.0, high=0.0))


def _title(modality: Modality, band: str) -> str:
    return modality.name.replace("_", " ") + (f"\n{band.replace('_', ' ')}" if band else "")


@dataclass(frozen=True)
class _Words:
    """An image-level layer: its name, lines of truth / prediction, and whether the predicted class is wrong."""

    name: str
    lines: tuple[str, ...]
    wrong: bool = False


def _words(layer: Layer, prediction: NDArray[Any], sample: Sample, index: int) -> _Words:
    truth, name = sample.stored[layer.name][index], layer.name.replace("_", " ")
    if layer.classes:
        return _class_words(layer.modality, name, int(truth[0]), prediction[index].astype(np.float64))
    group = sample.groups[layer.name][index : index + 1]
    guess = layer.stored(prediction[index : index + 1], group)[0]
    values = zip(layer.bands, layer.modality.physical(truth), layer.modality.physical(guess), strict=True)
    bands = layer.modality.bands
    each = [f"{bands[band].name.replace('_', ' ')} {_number(a)} / {_number(b)} {bands[band].units.removesuffix('1')}"
            for band, a, b in values]  # fmt: skip
    more = len(each) - _MOST_NUMBERS
    return _Words(name, (*each[:_MOST_NUMBERS], *([f"and {more} more"] if more > 0 else [])))


def _class_words(modality: Modality, name: str, code: int, logits: NDArray[np.float64]) -> _Words:
    exponentials = np.exp(logits - logits.max())
    best = int(logits.argmax())
    real = next((item.name for item in modality.categories if item.code == code), "no data")
    guess = modality.categories[best].name
    lines = (_short(real), f"/ {_short(guess)} ({exponentials[best] / exponentials.sum():.0%})")
    return _Words(name, lines, wrong=guess != real)


def _short(text: str) -> str:
    return text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 1] + "\u2026"


def _number(value: float) -> str:
    if not np.isfinite(value):
        return "no data"
    return f"{0.0 if abs(value) < _NOTHING else value:.3g}"


class _Page:
    """The page: per chip three lines of panels, one column per picture, and text on the right."""

    def __init__(self, chips: int, columns: int, words: bool) -> None:
        self._chips, self._columns = chips, columns
        width = _SIDE_INCHES + columns * _PANEL_INCHES + (_TEXT_INCHES if words else 0.1)
        self._size = (width, _TOP_INCHES + chips * (3 * _PANEL_INCHES + 0.55))
        self.figure = Figure(figsize=self._size, dpi=_DOTS_PER_INCH, facecolor="white")

    def _axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes with position and size in inches from the upper left corner."""
        across, down = self._size
        axes = self.figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))
        axes.set_axis_off()
        return axes

    def _top(self, chip: int) -> float:
        return _TOP_INCHES + 0.35 + chip * (3 * _PANEL_INCHES + 0.55)

    def title(self, title: str, explained: str) -> None:
        """Draw the title and an explanation."""
        axes = self._axes(0.1, 0.05, self._size[0] - 0.2, _TOP_INCHES - 0.05)
        axes.text(0, 0.72, title, transform=axes.transAxes, fontsize=15, weight="bold", color=_INK)
        axes.text(0, 0.36, explained, transform=axes.transAxes, fontsize=8.5, color=_SOFT)

    def name(self, chip: int, name: str) -> None:
        """Draw the name of a chip and the names of its lines."""
        axes = self._axes(0.08, self._top(chip) - 0.33, _SIDE_INCHES, 0.3)
        axes.text(0, 0.5, name, transform=axes.transAxes, fontsize=8, va="center", color=_INK, weight="bold")
        for line, text in enumerate(_LINES):
            side = self._axes(0.08, self._top(chip) + line * _PANEL_INCHES, _SIDE_INCHES, _PANEL_INCHES)
            side.text(0, 0.5, text, transform=side.transAxes, fontsize=8, va="center", color=_SOFT)

    def panels(self, chip: int, column: int, panels: _Panels) -> None:
        """Draw one column of a chip with its title."""
        for line, picture in enumerate(panels.pictures):
            left, top = _SIDE_INCHES + column * _PANEL_INCHES, self._top(chip) + line * _PANEL_INCHES
            axes = self._axes(left, top, _PANEL_INCHES * 0.96, _PANEL_INCHES * 0.96)
            if picture is not None:
                axes.imshow(picture, interpolation="nearest")
            if line == 0:
                axes.set_title(panels.title, fontsize=7.5, color=_INK, pad=3)

    def words(self, chip: int, words: Sequence[_Words]) -> None:
        """Draw the image-level layers right of the panels; lines that do not fit are left out."""
        left = _SIDE_INCHES + self._columns * _PANEL_INCHES + 0.15
        height = 3 * _PANEL_INCHES + 0.15
        axes = self._axes(left, self._top(chip), _TEXT_INCHES - 0.2, height)
        lines = [part for item in words for part in [(item.name, _INK, "bold")] + [
            (f"   {line}", _WRONG if item.wrong else _SOFT, "normal") for line in item.lines]]  # fmt: skip
        for index, (text, colour, weight) in enumerate(lines[: int(height / _LINE_INCHES)]):
            axes.text(0, 1 - index * _LINE_INCHES / height, text, transform=axes.transAxes, fontsize=7.5, va="top",
                      color=colour, weight=weight)  # fmt: skip
