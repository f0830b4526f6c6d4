"""A preview of a layer before it is exported: its graph, the values of a few chips in words, and their pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ee
import numpy as np
from numpy.typing import NDArray

from exporters.earth_engine.client import EarthEngine
from exporters.pull import encoding
from exporters.pull.graph import Graph
from exporters.pull.pull import Puller
from exporters.sources import Local, Pixels, source_of
from pipeline.chip import Chip
from pipeline.drawing import Picture, draw_all
from pipeline.encoding import is_rounded, stored_limits
from pipeline.modality import Modality, Range
from pipeline.spool import ChipResult

_GAP_PX = 4
_ENLARGED = 2
_ASSET = re.compile(r'"id": \{"constantValue": "([^"]+)"\}')


@dataclass(frozen=True)
class Preview:
    """The result of a preview: the chips in order, and the lines to show to the user (`said`)."""

    modality: Modality
    chips: tuple[ChipResult, ...]
    said: tuple[str, ...]

    def rows(self) -> list[list[Picture]]:
        """The pictures of each chip that has data, (y, x, 3) uint8 each; none for image-level layers."""
        if self.modality.extent != "pixel":
            return []
        blocks = [pulled.values.get(self.modality.name) for pulled in self.chips]
        return [[picture for _, picture in draw_all(self.modality, block)] for block in blocks if block is not None]


def preview_layer(engine: EarthEngine, modality: Modality, chips: Sequence[Chip]) -> Preview:
    """Build the layer's graph for the first chip, pull all chips, and describe the values in words.

    Raises as the export: `Fatal` for a graph that Earth Engine refuses.
    """
    about_graph = list(_graph(modality, chips[0]))
    puller = Puller(engine)
    source = puller.source(modality)
    if isinstance(source, Pixels):
        pulled = [puller.pixels(chip, [modality]) for chip in chips]
    elif isinstance(source, Local):
        pulled = [puller.local(chip, [modality]) for chip in chips]
    else:
        means = puller.regions(chips, [modality])
        pulled = [means[chip.row] for chip in chips]
    return Preview(modality, tuple(pulled), (*about_graph, *_values(modality, pulled), *_reasons(modality, pulled)))


def _graph(modality: Modality, chip: Chip) -> Iterator[str]:
    source = source_of(modality)
    if isinstance(source, Local):
        yield f"{modality.name}: computed here, no request"
        return
    image = encoding.stored_image(modality, source, chip) if isinstance(source, Pixels) else source.image(chip)
    encoded = ee.serializer.encode(image)
    text = json.dumps(encoded)
    yield f"{modality.name}: a graph of {text.count('functionName')} calls, {len(text) / 1000:.1f} kB"
    for function in Graph(encoded).interpolated_too_late():
        yield f"  it interpolates the result of {function}, not stored pixels: compute in `then`, or use on_pixels_of"
    unnamed = sorted(asset for asset in set(_ASSET.findall(text)) if not asset.startswith(modality.assets))
    if unnamed:
        yield f"  the graph reads {', '.join(unnamed)}, which `assets` does not name: add it"


def _values(modality: Modality, pulled: Sequence[ChipResult]) -> Iterator[str]:
    blocks = [item.values[modality.name] for item in pulled if modality.name in item.values]
    if not blocks:
        return
    stored = np.stack(blocks)
    for index, band in enumerate(modality.bands):
        yield f"  {band.name}: {_range(modality, stored[:, index], band.units, modality.ranges[index])}"


def _range(modality: Modality, stored: NDArray[Any], units: str, valid_range: Range | None) -> str:
    valid = modality.valid(stored)
    share = f"{1 - valid.mean():.1%} nodata"
    if not valid.any():
        return share
    if modality.categories:
        names = {category.code: category.name for category in modality.categories}
        return f"{', '.join(names[code] for code in np.unique(stored[valid]).tolist())}; {share}"
    physical = modality.physical(stored)[valid]
    text = f"{physical.min():.4g} to {physical.max():.4g} {units}, mean {physical.mean():.4g}; {share}"
    constant = "; it is constant" if physical.min() == physical.max() else ""
    return text + constant + _outside(valid_range, stored[valid]) + _saturated(modality, stored[valid])


def _outside(valid_range: Range | None, stored: NDArray[Any]) -> str:
    if valid_range is None:
        return ""
    low, high = valid_range
    count = int(((stored < low) | (stored > high)).sum())
    return f"; {count} values outside of valid_range" if count else ""


def _saturated(modality: Modality, stored: NDArray[Any]) -> str:
    """How many values are a limit of the dtype, which is where those beyond it end."""
    if not is_rounded(modality):
        return ""
    low, high = stored_limits(modality)
    count = int(((stored == high) | ((stored == low) & (low < 0))).sum())
    return f"; {count} values at the limit of what {modality.dtype} holds: check scale and dtype" if count else ""


def _reasons(modality: Modality, pulled: Sequence[ChipResult]) -> Iterator[str]:
    reasons = [item.missing[modality.name] for item in pulled if modality.name in item.missing]
    for reason in sorted(set(reasons)):
        yield f"  no data in {reasons.count(reason)} of {len(pulled)} chips: {reason}"


def contact_sheet(previews: Sequence[Preview]) -> Picture | None:
    """All pictures as one (y, x, 3) uint8 picture: a row per chip and layer, a column per band; None without any."""
    rows = [row for preview in previews for row in preview.rows()]
    if not rows:
        return None
    size = _ENLARGED * max(picture.shape[0] for row in rows for picture in row) + _GAP_PX
    page = np.full((len(rows) * size + _GAP_PX, max(map(len, rows)) * size + _GAP_PX, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            enlarged = picture.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1)
            top, left = y * size + _GAP_PX, x * size + _GAP_PX
            page[top : top + enlarged.shape[0], left : left + enlarged.shape[1]] = enlarged
    return page
