"""A page of what was pulled, what stored pixels give, and where they differ: a row of three pictures for each layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from exporters.live.check import LayerCheck
from exporters.live.comparison import BandComparison
from exporters.origin import Values
from pipeline.drawing import Picture, nodata_pattern, rgb_of
from pipeline.modality import Modality

_SIDE_PX, _GAP_PX, _TEXT_PX = 256, 8, 16
_PERCENTILES = (2.0, 98.0)
_EQUAL, _WITHIN, _OUTSIDE = (240, 240, 240), (160, 215, 240), (200, 30, 30)
TITLES = ("pulled", "from stored pixels", "difference")


def page(checks: Sequence[LayerCheck]) -> Picture | None:
    """All layers with pixels that were compared, (y, x, 3) uint8; None without any."""
    rows = [(check.layer, shown(check)) for check in checks if check.bands and check.layer.extent == "pixel"]
    if not rows:
        return None
    height = _SIDE_PX + _TEXT_PX + _GAP_PX
    image = Image.new("RGB", (3 * (_SIDE_PX + _GAP_PX) + _GAP_PX, len(rows) * height + _GAP_PX), "white")
    for index, (layer, band) in enumerate(rows):
        _draw_row(image, _GAP_PX + index * height, layer, band)
    return np.asarray(image)


def shown(check: LayerCheck) -> BandComparison:
    """The band to look at: the one that differs most, and where none does the first that its display shows."""
    if check.state == "differs":
        return min(check.bands, key=lambda band: float(band.within.mean()))
    displayed = [band for band in check.bands if band.name in check.layer.display.bands]
    return (displayed or list(check.bands))[0]


def _draw_row(image: Image.Image, top: int, layer: Modality, band: BandComparison) -> None:
    pictures = (*_pair(layer, band), _difference(band))
    pen = ImageDraw.Draw(image)
    for index, (title, picture) in enumerate(zip(TITLES, pictures, strict=True)):
        left = _GAP_PX + index * (_SIDE_PX + _GAP_PX)
        pen.text((left, top), f"{layer.name} {band.name}: {title}", fill="black")
        enlarged = Image.fromarray(picture).resize((_SIDE_PX, _SIDE_PX), Image.Resampling.NEAREST)
        image.paste(enlarged, (left, top + _TEXT_PX))


def _pair(layer: Modality, band: BandComparison) -> tuple[Picture, Picture]:
    """Both in the same colours: those of the classes, or grey between limits of the two together."""
    if layer.categories:
        return _classes(layer, band.ours), _classes(layer, band.theirs)
    known = np.concatenate([part[np.isfinite(part)] for part in (band.ours, band.theirs)])
    low, high = np.percentile(known, _PERCENTILES) if known.size else (0.0, 1.0)
    return _grey(band.ours, low, high), _grey(band.theirs, low, high)


def _classes(layer: Modality, codes: Values) -> Picture:
    picture = nodata_pattern(*codes.shape)
    for category in layer.categories:
        picture[codes == category.code] = rgb_of(category.colour)
    return picture


def _grey(values: Values, low: float, high: float) -> Picture:
    picture = nodata_pattern(*values.shape)
    known = np.isfinite(values)
    scaled = np.clip((values[known] - low) / max(high - low, 1e-12), 0.0, 1.0) * 255
    picture[known] = scaled.astype(np.uint8)[:, None]
    return picture


def _difference(band: BandComparison) -> Picture:
    """Light grey where equal, blue within the tolerance, red outside."""
    picture = np.full((*band.ours.shape, 3), _EQUAL, np.uint8)
    picture[~band.equal] = _WITHIN
    picture[~band.within] = _OUTSIDE
    return picture
