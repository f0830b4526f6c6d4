"""One image from an image collection: reducers over the stack, mosaic, toBands.

The result has the default projection of a composite, EPSG:4326 at one degree, and the bands of the first image. An
empty collection gives an image without bands.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox.errors import EarthEngineError
from sandbox.functions import reducers
from sandbox.functions.element_collections import Collection, accumulated
from sandbox.functions.features import index_of
from sandbox.functions.image_bands import named
from sandbox.functions.image_math import union_type
from sandbox.functions.image_polls import polled_mode
from sandbox.functions.images import Image, ImageBand, saturated
from sandbox.functions.reducers import Reducer
from sandbox.functions.scope import Scope, prepared
from sandbox.raster.grids import DEFAULT_PROJECTION, PixelGrid
from sandbox.raster.resample import Pixels
from sandbox.registry import algorithm


class Stack:
    """The images of a collection, listed once, as layers per band name."""

    def __init__(self, collection: Collection) -> None:
        self.images: list[Image] = accumulated(collection)

    def names(self) -> list[str]:
        return self.images[0].band_names() if self.images else []

    def dtype(self, name: str) -> np.dtype[Any]:
        kinds = [band.dtype for image in self.images for band in image.bands if band.name == name]
        joined = kinds[0]
        for kind in kinds[1:]:
            joined = union_type(joined, kind)
        return joined

    def near(self, name: str, grid: PixelGrid, scope: Scope) -> list[ImageBand]:
        """The band of each image that may have pixels on the grid, in order."""
        outline = scope.outline(grid)
        bands = [self._band(image, name) for image in self.images]
        shapes = {id(band.footprint): band.footprint for band in bands if band.footprint is not None}
        away = {key for key, shape in shapes.items() if not prepared(shape).intersects(outline)}
        return [band for band in bands if id(band.footprint) not in away]

    def _band(self, image: Image, name: str) -> ImageBand:
        for band in image.bands:
            if band.name == name:
                return band
        first = self.images[0]
        raise EarthEngineError(
            "Expected a homogeneous image collection, but an image with incompatible bands was encountered. "
            f"First image type: {_described(first)}. Current image type: {_described(image)}. "
            "Some bands might require explicit casts."
        )


def _described(image: Image) -> str:
    return f"{len(image.bands)} bands ([{', '.join(image.band_names())}])"


def _stacked(layers: list[Pixels], dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    values = np.stack([saturated(layer, dtype) for layer, _ in layers])
    return values, np.stack([valid for _, valid in layers])


def _reduced_bands(stack: Stack, name: str, reducer: Reducer, suffixed: bool) -> list[ImageBand]:
    source = stack.dtype(name)
    dtype = reducer.dtype_for(source)

    def all_outputs(grid: PixelGrid, scope: Scope) -> list[Pixels]:
        bands = stack.near(name, grid, scope)
        if reducer is reducers.MODE and (polled := polled_mode(bands, grid, scope)) is not None:
            return [polled]
        layers = [band.pixels(grid, scope) for band in bands]
        if not layers:
            layers = [(np.zeros(grid.shape, source), np.zeros(grid.shape, dtype=np.bool_))]
        values, valid = _stacked(layers, source)
        return reducer.reduce(values, valid, np.ones((len(values), 1, 1)))

    def output(index: int) -> ImageBand:
        def compute(grid: PixelGrid, scope: Scope) -> Pixels:
            values, valid = all_outputs(grid, scope)[index]
            return saturated(values, dtype), valid

        label = f"{name}_{reducer.outputs[index]}" if suffixed else name
        return ImageBand(label, dtype, DEFAULT_PROJECTION, compute)

    return [output(index) for index in range(len(reducer.outputs))]


def reduced(collection: Collection, reducer: Reducer, suffixed: bool) -> Image:
    """Each band reduced over the stack, named band_output where `suffixed`."""
    stack = Stack(collection)
    return Image(tuple(b for name in stack.names() for b in _reduced_bands(stack, name, reducer, suffixed)))


@algorithm("ImageCollection.reduce")
def reduce_collection(collection: Collection, reducer: Reducer, parallel_scale: float) -> Image:
    return reduced(collection, reducer, True)


def _register(name: str, reducer: Reducer) -> None:
    @algorithm(f"reduce.{name}")
    def reduce_by(collection: Collection) -> Image:
        return reduced(collection, reducer, False)


for _name, _reducer in {
    "min": reducers.MIN, "max": reducers.MAX, "sum": reducers.SUM, "mean": reducers.MEAN,
    "count": reducers.COUNT, "median": reducers.MEDIAN, "mode": reducers.MODE, "product": reducers.PRODUCT,
    "and": reducers.EVERY, "or": reducers.SOME,
}.items():  # fmt: skip
    _register(_name, _reducer)


@algorithm("ImageCollection.mosaic")
def mosaic(collection: Collection) -> Image:
    """The valid pixel of the last image that has one."""
    return reduced(collection, reducers.LAST, False)


@algorithm("ImageCollection.toBands")
def to_bands(collection: Collection) -> Image:
    """All bands of all images, each prefixed with its image's system:index."""
    bands = [
        band
        for index, image in enumerate(Stack(collection).images)
        for band in named(list(image.bands), [f"{index_of(image) or index}_{n}" for n in image.band_names()])
    ]
    return Image(tuple(bands))


@algorithm("Image.reduce")
def reduce_bands(image: Image, reducer: Reducer) -> Image:
    """The reducer's outputs over all bands of one image."""
    if not image.bands:
        raise EarthEngineError("Image.reduce: The image has no bands.")
    renamed = [Image((replace(band, name="b", compute=band.pixels),)) for band in image.bands]
    source = Collection(lambda query: renamed, True)
    result = reduced(source, reducer, True)
    return Image(tuple(named(list(result.bands), list(reducer.outputs))), image.properties, image.footprint)
