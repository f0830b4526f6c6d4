"""Chips as a sheet: a column for each chip, a row for each layer, drawn as the report draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.drawing import Picture, draw_all
from pipeline.layer_rows import LayerRows
from pipeline.modality import Modality

_SIDE_PX, _GAP_PX, _TEXT_PX, _MARGIN_PX = 160, 10, 16, 16
_INK, _SOFT, _MARK, _PAPER = "#1d2733", "#5d6875", "#bb5566", "white"
MOST_CHIPS, _ACROSS, _MOST_LAYERS = 24, 8, 4


@dataclass(frozen=True)
class Caption:
    """Two short lines below the pictures of a chip; one that is asked about is marked."""

    title: str
    about: str
    is_marked: bool = False


def write_sheet(path: Path, corpus: Corpus, rows: NDArray[np.int64], captions: Sequence[Caption], title: str) -> None:
    """Publish a PNG of the first 24 chips in manifest `rows` (n,), each with its caption, below a title.

    Raises `Fatal` for a chip whose shard is not finished, and where the file cannot be written.
    """
    rows = rows[:MOST_CHIPS]
    columns = _pictures(corpus, rows)
    page = _page(columns, captions[:MOST_CHIPS], title)
    durable.publish(path, lambda temporary: page.save(temporary, format="PNG"))


def _pictures(corpus: Corpus, rows: NDArray[np.int64]) -> list[list[Picture]]:
    """The pictures of each chip: its layers that have a style of their own, those in colour first."""
    columns: list[list[Picture]] = [[] for _ in rows]
    for modality in shown_layers(corpus):
        layer = LayerRows(corpus, modality.name)
        for column, stored in zip(columns, (layer.values(np.array([row]))[0] for row in rows.tolist()), strict=True):
            column += [picture for _, picture in draw_all(modality, stored, corpus.manifest.resolution_m)][:1]
    return columns


def shown_layers(corpus: Corpus) -> list[Modality]:
    """The layers of pixels that a sheet shows, at most four: in colours, relief, classes, and then in grey."""
    order = ("rgb", "hillshade", "classes", "grey")
    drawn = [item for item in corpus.modalities.values() if item.extent == "pixel" and item.display.style in order]
    return sorted(drawn, key=lambda item: (order.index(item.display.style), item.name))[:_MOST_LAYERS]


def _page(columns: list[list[Picture]], captions: Sequence[Caption], title: str) -> Image.Image:
    across = min(_ACROSS, max(len(columns), 1))
    deep = max((len(column) for column in columns), default=0)
    cell_x, cell_y = _SIDE_PX + _GAP_PX, deep * (_SIDE_PX + 3) + 2 * _TEXT_PX + 2 * _GAP_PX
    bands = -(-len(columns) // across)
    size = (max(2 * _MARGIN_PX + across * cell_x - _GAP_PX, 640), 3 * _MARGIN_PX + 14 + bands * cell_y)
    page = Image.new("RGB", size, _PAPER)
    ImageDraw.Draw(page).text((_MARGIN_PX, _MARGIN_PX), title, fill=_INK, font=_font(15))
    for index, (column, caption) in enumerate(zip(columns, captions, strict=True)):
        left, top = _MARGIN_PX + index % across * cell_x, 2 * _MARGIN_PX + 14 + index // across * cell_y
        _draw_chip(page, (left, top), column, caption)
    return page


def _draw_chip(page: Image.Image, at: tuple[int, int], column: list[Picture], caption: Caption) -> None:
    pen, (left, top) = ImageDraw.Draw(page), at
    for picture in column:
        page.paste(_enlarged(picture), (left, top))
        if caption.is_marked:
            pen.rectangle((left, top, left + _SIDE_PX - 1, top + _SIDE_PX - 1), outline=_MARK, width=3)
        top += _SIDE_PX + 3
    pen.text((left, top + 1), caption.title, fill=_MARK if caption.is_marked else _INK, font=_font(13))
    pen.text((left, top + 1 + _TEXT_PX), caption.about, fill=_SOFT, font=_font(11))


def _enlarged(picture: Picture) -> Image.Image:
    image = Image.fromarray(picture)
    smooth = Image.Resampling.LANCZOS if max(picture.shape[:2]) > _SIDE_PX else Image.Resampling.NEAREST
    return image.resize((_SIDE_PX, _SIDE_PX), smooth)


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size_px)
