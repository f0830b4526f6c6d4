"""Per-pixel arithmetic, comparison and casts of images, and the same operations on single numbers.

The type of a result is the union of the operands' types (Earth Engine's documentation of Image.add); integer results
saturate at its limits. Comparisons give bytes of 0 and 1. A masked operand masks the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox.errors import EarthEngineError
from sandbox.functions.images import Compute, ConstantPixels, Image, ImageBand, saturated
from sandbox.functions.pointwise import Mapped, Number, mapped, number_of, stepped
from sandbox.functions.scope import Scope
from sandbox.raster import masks
from sandbox.raster.grids import PixelGrid
from sandbox.raster.resample import Pixels
from sandbox.registry import algorithm

Array = NDArray[Any]
_DOUBLE, _BYTE = np.dtype(np.float64), np.dtype(np.uint8)

CASTS = {
    "Uint8": np.uint8, "Byte": np.uint8, "Int8": np.int8, "Uint16": np.uint16, "Int16": np.int16,
    "Short": np.int16, "Uint32": np.uint32, "Int32": np.int32, "Int": np.int32, "Int64": np.int64,
    "Long": np.int64, "Float": np.float32, "Double": np.float64,
}  # fmt: skip


def union_type(left: np.dtype[Any], right: np.dtype[Any]) -> np.dtype[Any]:
    """The smallest type that holds both."""
    return np.promote_types(left, right)


def fraction_type(left: np.dtype[Any], right: np.dtype[Any]) -> np.dtype[Any]:
    """Like union_type, but always floating point."""
    joined = union_type(left, right)
    return joined if joined.kind == "f" else _DOUBLE


def byte_type(left: np.dtype[Any], right: np.dtype[Any]) -> np.dtype[Any]:
    """The type of a comparison."""
    return _BYTE


def _divide(left: Array, right: Array) -> Array:
    if np.all(right):
        return np.asarray(np.asarray(left, np.float64) / right)
    safe = np.where(right == 0, 1, right)
    return np.where(right == 0, 0.0, np.asarray(left, np.float64) / safe)


def _modulo(left: Array, right: Array) -> Array:
    return np.where(right == 0, 0, np.fmod(left, np.where(right == 0, 1, right)))


def _power(left: Array, right: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.power(np.asarray(left, np.float64), right)


def _integers(operate: Callable[[Any, Any], Any]) -> Callable[[Array, Array], Array]:
    return lambda left, right: operate(np.asarray(left).astype(np.int64), np.asarray(right).astype(np.int64))


_Binary = tuple[Callable[[Any, Any], Any], Callable[[np.dtype[Any], np.dtype[Any]], np.dtype[Any]]]

BINARY: dict[tuple[str, ...], _Binary] = {
    ("add",): (np.add, union_type),
    ("subtract",): (np.subtract, union_type),
    ("multiply",): (np.multiply, union_type),
    ("divide",): (_divide, fraction_type),
    ("mod",): (_modulo, union_type),
    ("pow",): (_power, fraction_type),
    ("max",): (np.maximum, union_type),
    ("min",): (np.minimum, union_type),
    ("atan2",): (np.arctan2, fraction_type),
    ("hypot",): (np.hypot, fraction_type),
    ("gt",): (np.greater, byte_type),
    ("gte",): (np.greater_equal, byte_type),
    ("lt",): (np.less, byte_type),
    ("lte",): (np.less_equal, byte_type),
    ("eq",): (np.equal, byte_type),
    ("neq",): (np.not_equal, byte_type),
    ("and",): (np.logical_and, byte_type),
    ("or",): (np.logical_or, byte_type),
    ("bitwiseAnd", "bitwise_and"): (_integers(np.bitwise_and), union_type),
    ("bitwiseOr", "bitwise_or"): (_integers(np.bitwise_or), union_type),
    ("bitwiseXor", "bitwise_xor"): (_integers(np.bitwise_xor), union_type),
    ("leftShift", "left_shift"): (_integers(np.left_shift), lambda left, right: np.dtype(np.int64)),
    ("rightShift", "right_shift"): (_integers(np.right_shift), lambda left, right: left),
}

UNARY: dict[str, tuple[Callable[[Any], Any], bool]] = {
    "abs": (np.abs, True), "floor": (np.floor, True), "ceil": (np.ceil, True), "round": (np.rint, True),
    "signum": (np.sign, True), "sqrt": (np.sqrt, False), "exp": (np.exp, False), "log": (np.log, False),
    "log10": (np.log10, False), "sin": (np.sin, False), "cos": (np.cos, False), "tan": (np.tan, False),
    "asin": (np.arcsin, False), "acos": (np.arccos, False), "atan": (np.arctan, False), "cbrt": (np.cbrt, False),
    "sinh": (np.sinh, False), "cosh": (np.cosh, False), "tanh": (np.tanh, False),
}  # fmt: skip
"""An operation, and whether it preserves the type."""


def _wide(values: Array) -> Array:
    """The values in a type in which integer arithmetic cannot overflow."""
    return values if values.dtype.kind == "f" else values.astype(np.int64)


@dataclass(frozen=True)
class _WithNumber:
    """An operation of two operands, of which the right one is a number."""

    operate: Callable[[Any, Any], Any]
    right: Number

    def __call__(self, left: Array) -> Any:
        return self.operate(_wide(left), _wide(self.right.value))


def binary_band(left: ImageBand, right: ImageBand, name: str, operation: _Binary) -> ImageBand:
    """One band from two; it has the projection of `left`."""
    operate, type_of = operation
    dtype = type_of(left.dtype, right.dtype)

    def both(grid: PixelGrid, scope: Scope) -> Pixels:
        (first, valid), (second, second_valid) = left.pixels(grid, scope), right.pixels(grid, scope)
        step = Mapped(lambda values: operate(_wide(values), _wide(second)), dtype)
        return step(first, masks.both(valid, second_valid))

    compute: Compute = both
    if isinstance(right.compute, ConstantPixels):
        compute = stepped(left, mapped(_WithNumber(operate, number_of(right.compute.value)), dtype)).compute
    footprint = left.footprint if left.footprint is not None else right.footprint
    return ImageBand(name, dtype, left.projection, compute, footprint)


def _pairs(left: Image, right: Image, name: str) -> list[tuple[ImageBand, ImageBand, str]]:
    if len(right.bands) == 1:
        return [(band, right.bands[0], band.name) for band in left.bands]
    if len(left.bands) == 1:
        return [(left.bands[0], band, band.name) for band in right.bands]
    by_name = {band.name: band for band in right.bands}
    if len(left.bands) == len(right.bands) and set(by_name) != set(left.band_names()):
        return [(a, b, a.name) for a, b in zip(left.bands, right.bands, strict=True)]
    pairs = [(band, by_name[band.name], band.name) for band in left.bands if band.name in by_name]
    if not pairs and left.bands and right.bands:
        raise EarthEngineError(f"{name}: Images have no bands in common.")
    return pairs


def derived(left: Image, bands: list[ImageBand]) -> Image:
    """A computed image: it has the footprint and the system:index of `left`, but no other property."""
    index = left.properties.get("system:index")
    footprint = left.footprint
    return Image(tuple(bands), {} if index is None else {"system:index": index}, footprint)


def binary(left: Image, right: Image, name: str, operation: _Binary) -> Image:
    """An operation on matched bands, as documented: one band with all, by name, or in order."""
    bands = [binary_band(a, b, band_name, operation) for a, b, band_name in _pairs(left, right, name)]
    result = derived(left, bands)
    if left.footprint is None and right.footprint is not None:
        return Image(result.bands, result.properties, right.footprint)
    return result


def _register_binary(names: tuple[str, ...], operation: _Binary) -> None:
    @algorithm(*(f"Image.{name}" for name in names))
    def of_images(left: Image, right: Image) -> Image:
        return binary(left, right, f"Image.{names[0]}", operation)

    @algorithm(*(f"Number.{name}" for name in names))
    def of_numbers(left: float, right: float) -> float | int:
        return python_number(operation[0](np.asarray(left), np.asarray(right)))


def python_number(value: Any) -> float | int:
    """The Python number of a NumPy scalar; booleans become 0 and 1."""
    number = value.item() if hasattr(value, "item") else value
    return int(number) if isinstance(number, bool) else number


def mapped_band(band: ImageBand, dtype: np.dtype[Any], operate: Callable[[Array], Array]) -> ImageBand:
    """A band with `operate` applied to its values; results that are not finite are masked."""

    return replace(band, dtype=dtype, compute=lambda grid, scope: Mapped(operate, dtype)(*band.pixels(grid, scope)))


def _register_unary(name: str, operate: Callable[[Any], Any], keeps_type: bool) -> None:
    @algorithm(f"Image.{name}")
    def of_image(image: Image) -> Image:
        kinds = [b.dtype if keeps_type else fraction_type(b.dtype, b.dtype) for b in image.bands]
        return derived(image, [stepped(b, mapped(operate, kind)) for b, kind in zip(image.bands, kinds, strict=True)])

    @algorithm(f"Number.{name}")
    def of_number(value: float) -> float | int:
        return python_number(operate(np.asarray(value)))


def cast(image: Image, kind: Any) -> Image:
    """Every band cast to one type: truncated towards zero and clamped to its limits."""
    step = mapped(_same, np.dtype(kind))
    return image.with_bands([b if b.dtype == step.dtype else stepped(b, step) for b in image.bands])


def _same(values: Array) -> Array:
    return values


def _register_cast(name: str, kind: Any) -> None:
    @algorithm(f"Image.to{name}", f"Image.{name.lower()}")
    def of_image(image: Image) -> Image:
        return cast(image, kind)

    @algorithm(f"Number.to{name}", f"Number.{name.lower()}")
    def of_number(value: float) -> float | int:
        return python_number(saturated(np.asarray(value), np.dtype(kind)))


for _names, _operation in BINARY.items():
    _register_binary(_names, _operation)
for _name, (_operate, _keeps) in UNARY.items():
    _register_unary(_name, _operate, _keeps)
for _name, _kind in CASTS.items():
    _register_cast(_name, _kind)


@algorithm("Image.not")
def logical_not(image: Image) -> Image:
    return derived(image, [stepped(b, mapped(_is_zero, _BYTE)) for b in image.bands])


def _is_zero(values: Array) -> Any:
    return values == 0


@dataclass(frozen=True)
class _Clamped:
    low: Number
    high: Number

    def __call__(self, values: Array) -> Array:
        return np.clip(_wide(values), self.low.value.item(), self.high.value.item())


@dataclass(frozen=True)
class _Scaled:
    low: Number
    high: Number

    def __call__(self, values: Array) -> Array:
        low, high = self.low.value.item(), self.high.value.item()
        return np.asarray((values.astype(np.float64) - low) / (high - low))


@algorithm("Image.clamp")
def clamp(image: Image, low: float, high: float) -> Image:
    operate = _Clamped(number_of(np.asarray(low)), number_of(np.asarray(high)))
    return derived(image, [stepped(b, mapped(operate, b.dtype)) for b in image.bands])


@algorithm("Image.unitScale")
def unit_scale(image: Image, low: float, high: float) -> Image:
    operate = _Scaled(number_of(np.asarray(low)), number_of(np.asarray(high)))
    return derived(image, [stepped(b, mapped(operate, _DOUBLE)) for b in image.bands])


@algorithm("Number.not")
def number_not(value: float) -> int:
    return int(value == 0)


@algorithm("Number.clamp")
def number_clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


@algorithm("Number.unitScale")
def number_unit_scale(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low)


@algorithm("Number.format")
def number_format(value: float, pattern: str | None) -> str:
    text = pattern or "%s"
    return text % (int(value) if text.rstrip()[-1:] in "dxX" else value)


@algorithm("Number.parse")
def number_parse(text: str, radix: int | None) -> float | int:
    try:
        return float(text) if radix in (None, 10) and not text.lstrip("+-").isdigit() else int(text, radix or 10)
    except ValueError as error:
        raise EarthEngineError(f"Number.parse: Cannot parse '{text}' as a number.") from error


@algorithm("Image.normalizedDifference")
def normalized_difference(image: Image, names: list[str] | None) -> Image:
    """(a - b) / (a + b); masked where a or b is negative, as documented."""
    chosen = [next(b for b in image.bands if b.name == name) for name in names] if names else list(image.bands[:2])

    def compute(grid: PixelGrid, scope: Scope) -> Pixels:
        (a, a_valid), (b, b_valid) = (band.pixels(grid, scope) for band in chosen)
        a, b = a.astype(np.float64), b.astype(np.float64)
        with np.errstate(all="ignore"):
            result = (a - b) / (a + b)
        known = masks.both(masks.both((a >= 0) & (b >= 0) & (a + b != 0), a_valid), b_valid)
        return np.nan_to_num(result).astype(np.float32), known

    band = ImageBand("nd", np.dtype(np.float32), chosen[0].projection, compute, chosen[0].footprint)
    return derived(image, [band])


@algorithm("Image.cast")
def cast_bands(image: Image, band_types: dict[str, Any], order: list[str] | None) -> Image:
    """Bands cast to named types such as "uint8" or "float"; bands that are not named do not change."""
    kinds = {name.lower(): np.dtype(kind) for name, kind in CASTS.items()}
    unknown = [kind for kind in band_types.values() if str(kind).lower() not in kinds]
    if unknown:
        raise EarthEngineError(f"Image.cast: Unknown type '{unknown[0]}'.")
    wanted = [kinds[str(band_types[b.name]).lower()] if b.name in band_types else b.dtype for b in image.bands]
    converted = [cast(Image((band,)), kind).bands[0] for band, kind in zip(image.bands, wanted, strict=True)]
    by_name = {band.name: band for band in converted}
    return image.with_bands([by_name[name] for name in order] if order else converted)


@algorithm("Image.remap")
def remap(image: Image, old: list[float], new: list[float], default: float | None, band_name: str | None) -> Image:
    """One band with its values `old` replaced by `new`; others become `default`, or are masked without a default."""
    if len(old) != len(new):
        raise EarthEngineError("Image.remap: The 'from' and 'to' lists must have the same length.")
    outcome = [band for band in image.bands if band_name in (None, band.name)]
    if not outcome:
        raise EarthEngineError(f"Image.remap: No band named '{band_name}'.")
    source, targets = outcome[0], [*new, *([] if default is None else [default])]
    dtype = np.result_type(*(np.min_scalar_type(target) for target in targets))

    def compute(grid: PixelGrid, scope: Scope) -> Pixels:
        values, valid = source.pixels(grid, scope)
        result, listed = np.full(values.shape, default or 0, dtype), np.zeros(values.shape, dtype=np.bool_)
        for before, after in zip(old, new, strict=True):
            result[values == before] = after
            listed |= values == before
        return result, valid if default is not None else valid & listed

    return derived(image, [ImageBand("remapped", dtype, source.projection, compute, source.footprint)])
