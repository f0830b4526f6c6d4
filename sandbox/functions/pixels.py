"""Pixels of an image on a grid, within the limits of a request, as NPY, GeoTIFF (also zipped) or PNG bytes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from sandbox.errors import EarthEngineError
from sandbox.functions.geometry import geometry_from_geojson
from sandbox.functions.image_bands import select
from sandbox.functions.image_grids import native_grid
from sandbox.functions.images import Image
from sandbox.functions.projections import projection_of
from sandbox.functions.scope import Scope
from sandbox.raster import grids, masks
from sandbox.raster.grids import PixelGrid
from sandbox.raster.stored import Projection

_MAX_DIMENSION = 32_768
_COMMON_GEOTIFF_TYPES = {"int64": np.float64, "uint64": np.float64}

CONTENT_TYPES = {
    "NPY": "application/octet-stream",
    "GEO_TIFF": "image/tiff",
    "PNG": "image/png",
    "ZIPPED_GEO_TIFF": "application/zip",
    "ZIPPED_GEO_TIFF_PER_BAND": "application/zip",
}


@dataclass(frozen=True)
class PixelLimits:
    """The limits of a request for pixels; other limits of a request are `sandbox.limits.Limits`."""

    max_bytes: int | None = 48 * 1024 * 1024
    max_bands: int | None = 1024


def _transform(affine: Mapping[str, Any], default: tuple[float, ...]) -> tuple[float, ...]:
    names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    if not affine:
        return default
    return tuple(float(affine.get(name, 0.0)) for name in names)


def requested_grid(image: Image, body: Mapping[str, Any]) -> PixelGrid:
    """The request's grid; the parts that it does not give come from the image.

    Raises EarthEngineError (400) when an unbounded image needs dimensions.
    """
    grid = body.get("grid") or {}
    region = body.get("region")
    if not grid and region is None:
        return native_grid(image)
    native = image.projection
    code = grid.get("crsCode") or grid.get("crsWkt") or native.crs
    transform = _transform(grid.get("affineTransform") or {}, native.transform)
    projection: Projection = projection_of(code, transform)
    size = grid.get("dimensions")
    if size:
        return PixelGrid(projection.crs, projection.transform, *(_pixels(size, side) for side in ("width", "height")))
    if region is not None:
        return grids.covering_grid(projection, geometry_from_geojson(region).in_crs(projection.crs))
    if image.footprint is None:
        raise EarthEngineError("Invalid argument: grid.dimensions is required for an unbounded image.")
    return grids.covering_grid(projection, grids.project(image.footprint, grids.LONLAT, projection.crs))


def _pixels(dimensions: Mapping[str, Any], side: str) -> int:
    """The width or height of a request; raises EarthEngineError (400) where it is no integer, as the protocol does."""
    value = dimensions.get(side, 0)
    try:
        whole = int(float(value))
        if isinstance(value, bool) or whole != float(value):
            raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        raise EarthEngineError(
            f"Invalid JSON payload received. Invalid value at 'grid.dimensions.{side}' (TYPE_INT32), {value!r}."
        ) from error
    return whole


def _check(image: Image, grid: PixelGrid, limits: PixelLimits) -> None:
    if not image.bands:
        raise EarthEngineError("Unable to compute pixels: Expected at least one band, but the image has none.")
    if limits.max_bands is not None and len(image.bands) > limits.max_bands:
        raise EarthEngineError(
            f"Number of bands ({len(image.bands)}) must be less than or equal to {limits.max_bands}."
        )
    if grid.width <= 0 or grid.height <= 0:
        raise EarthEngineError("Invalid argument: grid dimensions must be positive.")
    if max(grid.width, grid.height) > _MAX_DIMENSION:
        raise EarthEngineError(
            f"Pixel grid dimensions ({grid.width}x{grid.height}) must be less than or equal to {_MAX_DIMENSION}."
        )
    size = grid.width * grid.height * sum(band.dtype.itemsize for band in image.bands)
    if limits.max_bytes is not None and size > limits.max_bytes:
        raise EarthEngineError(
            f"Total request size ({size} bytes) must be less than or equal to {limits.max_bytes} bytes."
        )


def structured(image: Image, grid: PixelGrid) -> NDArray[Any]:
    """A structured array (height, width) with one field per band in the band's dtype; masked pixels are 0."""
    scope = Scope()
    result = np.zeros(grid.shape, dtype=[(band.name, band.dtype) for band in image.bands])
    for band in image.bands:
        result[band.name] = _filled(*band.pixels(grid, scope))
    return result


def _filled(values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
    if masks.is_everywhere(valid) or valid.all():
        return values
    return values * valid if values.dtype.kind in "iu" else np.where(valid, values, 0)


def _npy(array: NDArray[Any], grid: PixelGrid) -> bytes:
    buffer = io.BytesIO()
    try:
        np.lib.format.write_array_header_1_0(buffer, np.lib.format.header_data_from_array_1_0(array))
    except ValueError:  # the names of the bands are too long together, or not in Latin letters
        np.save(buffer, array, allow_pickle=False)
        return buffer.getvalue()
    return b"".join([buffer.getvalue(), array.data])  # `np.save` takes many times as long to copy the pixels


def _common_type(array: NDArray[Any]) -> np.dtype[Any]:
    assert array.dtype.fields is not None  # noqa: S101
    joined = np.result_type(*(kind for kind, *_ in array.dtype.fields.values()))
    return np.dtype(_COMMON_GEOTIFF_TYPES.get(joined.name, joined))


def _geotiff(array: NDArray[Any], grid: PixelGrid) -> bytes:
    names = list(array.dtype.names or ())
    x_scale, x_shear, x, y_shear, y_scale, y = grid.transform
    profile = {
        "driver": "GTiff", "width": grid.width, "height": grid.height, "count": len(names),
        "dtype": _common_type(array), "crs": grids.crs_of(grid.crs).to_wkt(),
        "transform": Affine(x_scale, x_shear, x, y_shear, y_scale, y), "compress": "lzw",
    }  # fmt: skip
    with MemoryFile() as memory:
        with memory.open(**profile) as target:
            for index, name in enumerate(names, start=1):
                target.write(array[name].astype(profile["dtype"]), index)
                target.set_band_description(index, name)
        return bytes(memory.read())


def _png(array: NDArray[Any], grid: PixelGrid) -> bytes:
    """One, three or four bands as bytes, clamped to 0..255."""
    names = list(array.dtype.names or ())
    if len(names) not in (1, 3, 4):
        raise EarthEngineError("PNG output needs 1, 3 or 4 bands; select them or ask for GEO_TIFF.")
    layers = [np.clip(array[name], 0, 255).astype(np.uint8) for name in names]
    buffer = io.BytesIO()
    Picture.fromarray(layers[0] if len(layers) == 1 else np.dstack(layers)).save(buffer, "PNG")
    return buffer.getvalue()


def _zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _zipped_geotiff(array: NDArray[Any], grid: PixelGrid) -> bytes:
    return _zipped({"download.tif": _geotiff(array, grid)})


def _zipped_geotiff_per_band(array: NDArray[Any], grid: PixelGrid) -> bytes:
    """One file per band, each in the band's type."""
    names = array.dtype.names or ()
    return _zipped({f"download.{name}.tif": _geotiff(array[[name]], grid) for name in names})


_WRITERS = {
    "NPY": _npy,
    "GEO_TIFF": _geotiff,
    "PNG": _png,
    "ZIPPED_GEO_TIFF": _zipped_geotiff,
    "ZIPPED_GEO_TIFF_PER_BAND": _zipped_geotiff_per_band,
}


def file_format(body: Mapping[str, Any]) -> str:
    """The format that a request asks for, PNG by default. Raises EarthEngineError (400) for an unsupported one."""
    name = body.get("fileFormat") or "AUTO_JPEG_PNG"
    wanted = {"AUTO_JPEG_PNG": "PNG", "IMAGE_FILE_FORMAT_UNSPECIFIED": "PNG"}.get(name, str(name))
    if wanted not in _WRITERS:
        raise EarthEngineError(f"The sandbox does not write the file format '{name}'; ask for NPY or GEO_TIFF.")
    return wanted


def render(image: Image, body: Mapping[str, Any], limits: PixelLimits) -> bytes:
    """The bytes of a pixel request: the bands of `bandIds`, on its grid, in its format.

    Raises EarthEngineError (400) when the request is invalid or over a limit.
    """
    writer = _WRITERS[file_format(body)]
    chosen = select(image, list(body["bandIds"]), None) if body.get("bandIds") else image
    grid = requested_grid(chosen, body)
    _check(chosen, grid, limits)
    return writer(structured(chosen, grid), grid)
