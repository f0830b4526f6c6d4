"""What a layer of files is: its specification, from the description and from what some of its files say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from exporters.files.bands import BandOfFile
from exporters.files.class_colours import classes_of_file
from exporters.files.description import LayerSettings
from exporters.files.usual_range import usual_range
from pipeline.errors import Fatal
from pipeline.modality import Band, Category, Display, Modality

_KINDS = "uint8, int8, uint16, int16, uint32, int32, float32 or float64"
_FILLS = {"uint8": 255, "int8": -128, "uint16": 65535, "int16": -32768, "uint32": 2**32 - 1, "int32": -(2**31)}


def specification(
    name: str, layer: LayerSettings, bands: Sequence[BandOfFile], samples: Iterable[BandOfFile]
) -> Modality:
    """The layer called `name`, whose bands these are at the first place that has it. Raises `Fatal` for nonsense.

    `samples` are its bands at places from first to last: what lies in them says between which values it is drawn.
    """
    categories = _categories(layer, bands)
    scale, offset = _packing(layer, bands)
    dtype = _dtype(name, layer, bands, bool(categories))
    return Modality(
        name=name,
        title=layer.title or name.replace("_", " "),
        bands=_bands(name, layer, bands),
        dtype=dtype,
        nodata=_nodata(name, layer, bands, dtype, categories),
        categories=categories,
        resampling=layer.resampling or "nearest",
        scale=scale,
        offset=offset,
        time_rule=layer.time_rule,
        reference=layer.reference,
        display=_display(layer, categories, bands, samples),
    )


def _categories(layer: LayerSettings, bands: Sequence[BandOfFile]) -> tuple[Category, ...]:
    if len(bands) != 1:
        return layer.categories
    in_file = classes_of_file(bands[0].header.path, bands[0].number)
    if not layer.categories:
        return in_file
    colours = {item.code: item.colour for item in in_file}
    plain = Category(0, "").colour
    return tuple(
        Category(item.code, item.name, colours.get(item.code, plain)) if item.colour == plain else item
        for item in layer.categories
    )


def _packing(layer: LayerSettings, bands: Sequence[BandOfFile]) -> tuple[float, float]:
    """Scale and offset of all bands, where they share them and are stored as in the file; else none."""
    tags = {(band.header.scales[band.number - 1], band.header.offsets[band.number - 1]) for band in bands}
    return tags.pop() if len(tags) == 1 and layer.dtype is None else (1.0, 0.0)


def _dtype(name: str, layer: LayerSettings, bands: Sequence[BandOfFile], are_classes: bool) -> str:
    kinds = {band.header.dtypes[band.number - 1] for band in bands}
    packings = {(band.header.scales[band.number - 1], band.header.offsets[band.number - 1]) for band in bands}
    wanted = _known(name, layer.dtype or ("float32" if len(packings) > 1 else str(np.result_type(*kinds))))
    has_nodata = layer.nodata is not None or any(band.header.nodata[band.number - 1] is not None for band in bands)
    # All 256 values of a photograph are data, so that none is left to say that there is none.
    return "int16" if wanted == "uint8" and not (layer.dtype or has_nodata or are_classes) else wanted


def _known(name: str, dtype: str) -> str:
    """The same dtype. Raises `Fatal` for one that a corpus does not hold."""
    if dtype not in (*_FILLS, "float32", "float64", "float16"):
        raise Fatal(f"layer {name!r} would be of {dtype}, which a corpus does not hold; give its dtype, {_KINDS}.")
    return dtype


def _nodata(
    name: str, layer: LayerSettings, bands: Sequence[BandOfFile], dtype: str, categories: Sequence[Category]
) -> float:
    said = [layer.nodata, *(band.header.nodata[band.number - 1] for band in bands)]
    if np.dtype(dtype).kind == "f":
        return float("nan")
    limits, codes = np.iinfo(dtype), {item.code for item in categories}
    fits = (value for value in said if value is not None and value == np.round(value))
    usable = (value for value in fits if limits.min <= value <= limits.max and value not in codes)
    found = next(usable, None)
    return _free_number(name, dtype, codes) if found is None else found


def _free_number(name: str, dtype: str, codes: Collection[int]) -> float:
    """The dtype's usual nodata, or else a number that is no class. Raises `Fatal` where each of them is one."""
    limits = np.iinfo(dtype)
    wanted = chain((_FILLS[dtype], limits.min, limits.max, 0), range(limits.max, limits.min, -1))
    free = next((value for value in wanted if value not in codes), None)
    if free is None:
        raise Fatal(
            f"layer {name!r} has a class for every number of {dtype}, so that none is left for no data; give its "
            "dtype, such as int32."
        )
    return free


def _bands(name: str, layer: LayerSettings, bands: Sequence[BandOfFile]) -> tuple[Band, ...]:
    units = (layer.units,) * len(bands) if isinstance(layer.units, str) else layer.units
    if len(units) != len(bands):
        raise Fatal(f"layer {name!r} has {len(bands)} bands and {len(units)} units; give one for all, or one each.")
    said = [band.header.units[band.number - 1] for band in bands]
    return tuple(Band(band.name, unit or own or "1") for band, unit, own in zip(bands, units, said, strict=True))


def _display(
    layer: LayerSettings, categories: Sequence[Category], bands: Sequence[BandOfFile], samples: Iterable[BandOfFile]
) -> Display:
    if categories:
        return Display("classes", (bands[0].name,))
    shown = layer.rgb or (bands[0].name,)
    low, high = layer.range or usual_range((band for band in samples if band.name in shown), layer.nodata)
    return Display("rgb" if layer.rgb else "grey", shown, low, high)


def column_specification(name: str, layer: LayerSettings, values: Sequence[Any]) -> Modality:
    """A layer of one value per place, from a column: texts and truths are classes, numbers are numbers, or codes of
    `classes`. Raises `Fatal` for a column without values, or with values of several kinds.
    """
    known = [value for value in values if value is not None]
    if not known:
        raise Fatal(f"column {layer.column!r} of layer {name!r} has no values; correct its name.")
    if layer.categories or not all(isinstance(value, int | float) for value in known) or isinstance(known[0], bool):
        return _class_column(name, layer, known)
    band = Band(layer.column, layer.units if isinstance(layer.units, str) and layer.units else "1")
    return Modality(name, layer.title or name, (band,), _known(name, layer.dtype or "float64"), float("nan"), "image",
                    time_rule="static", reference=layer.reference)  # fmt: skip


def _class_column(name: str, layer: LayerSettings, known: Sequence[Any]) -> Modality:
    texts = sorted({str(value) for value in known})
    categories = layer.categories or tuple(Category(code, text) for code, text in enumerate(texts))
    is_byte = all(0 <= item.code < 255 for item in categories)
    dtype = _known(name, layer.dtype or ("uint8" if is_byte else "int32"))
    nodata = _nodata(name, layer, (), dtype, categories)
    return Modality(name, layer.title or name, (Band(layer.column),), dtype, nodata, "image", categories,
                    time_rule="static", reference=layer.reference)  # fmt: skip
