"""`predict` and `embed` over an area: rasters in, tiles that overlap, one GeoTIFF out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from exporters.files.area_rasters import AreaRasters
from exporters.formats.area_raster import AreaRaster
from exporters.formats.convert import put_out
from flows.extras import require
from flows.map_layers import feature_layer
from flows.mapping import view_of
from flows.predicted import predicted
from pipeline import durable
from pipeline.errors import Fatal, unknown_name
from pipeline.grid import Grid
from pipeline.modality import Modality
from pipeline.progress import Progress

if TYPE_CHECKING:
    from training.evaluate.area import AreaModel
    from training.evaluate.tiling import Corner, Tiling

Finish = Callable[[NDArray[np.float32]], NDArray[Any]]


@dataclass(frozen=True)
class AreaMap:
    """A model, the layer that its map is, and what makes stored values of blended answers (bands, y, x)."""

    model: AreaModel
    layer: Modality
    finish: Finish


@dataclass(frozen=True)
class Area:
    """Rasters `over` an area, "LAYER=PATH" or a path alone where one layer is looked at; `overlap` of a tile's edge."""

    over: tuple[str, ...]
    overlap: float = 0.5

    def write(self, shown: AreaMap, target: Path, overwrite: bool, progress: Progress) -> str:
        """Write the map to `target`; returns a line about it. Raises `Fatal` for rasters or a target without use."""
        rasters = self._rasters(shown)
        grid = next(iter(rasters.values())).grid()
        made = _Made(shown, rasters, grid, self.overlap)
        line = put_out([], target, overwrite, lambda draft: made.write(draft, progress))
        about = AreaRaster(shown.layer, made.cells).side_file()
        if about is not None:
            durable.write_text(target.with_name(target.name + ".aux.xml"), about)
        return line

    def _rasters(self, shown: AreaMap) -> dict[str, AreaRasters]:
        layers = {layer.name: layer.modality for layer in shown.model.normalisation.layers}
        paths: dict[str, list[str]] = {name: [] for name in layers}
        for text in self.over:
            paths[_layer_of(text, layers)].append(text.partition("=")[2] or text)
        for name, of_layer in paths.items():
            if not of_layer:
                raise Fatal(f"these weights look at {name!r} as well; give its rasters with --over {name}=PATH.")
        return {name: AreaRasters.of(layers[name], of_layer) for name, of_layer in paths.items()}


def _layer_of(text: str, layers: Mapping[str, Modality]) -> str:
    name, equals, _ = text.partition("=")
    if not equals and len(layers) > 1:
        raise Fatal(f"--over {text} does not say of which layer; write LAYER={text}, of {', '.join(layers)}.")
    if equals and name not in layers:
        raise unknown_name("layer of --over:", name, layers)
    return name if equals else next(iter(layers))


@dataclass(frozen=True)
class _Made:
    shown: AreaMap
    rasters: Mapping[str, AreaRasters]
    grid: Grid
    overlap: float

    @property
    def cells(self) -> Grid:
        """The grid of the map: pixels, or patches, of which the last may reach beyond the rasters."""
        cell_px = self.shown.model.cell_px
        height, width = (-(-edge // cell_px) for edge in self.grid.shape_yx)
        return replace(self.grid, shape_yx=(height, width), resolution_m=self.grid.resolution_m * cell_px)

    def write(self, path: Path, progress: Progress) -> str:
        from training.evaluate.tiling import Tiling

        model, cells = self.shown.model, self.cells
        tiling = Tiling.of(cells.shape_yx, model.tile_px // model.cell_px, self.overlap)
        self._check_units()
        progress.start("tiles", tiling.count)
        AreaRaster(self.shown.layer, cells).write(path, self._stripes(tiling, progress), tiling.stride)
        height, width = cells.shape_yx
        return f"{width} by {height} pixels of {cells.resolution_m:g} m, {len(self.shown.layer.bands)} bands."

    def _stripes(self, tiling: Tiling, progress: Progress) -> Iterator[tuple[int, NDArray[Any]]]:
        def compute(corners: Sequence[Corner]) -> NDArray[np.float32]:
            result = self.shown.model.of(self._read(corners))
            progress.advance(len(corners))
            return result

        for top, values in tiling.blended(compute, self.shown.model.bands):
            yield top, self.shown.finish(values)

    def _read(self, corners: Sequence[Corner]) -> dict[str, NDArray[np.float64]]:
        """Values (tiles, bands, y, x) by layer of tiles with these corners (y, x) in cells."""
        grids = [self._tile(corner) for corner in corners]
        return {name: np.stack([raster.read(grid) for grid in grids]) for name, raster in self.rasters.items()}

    def _tile(self, corner: Corner) -> Grid:
        (left, top), cell_m = self.grid.origin_xy, self.cells.resolution_m
        origin = left + corner[1] * cell_m, top - corner[0] * cell_m
        return replace(self.grid, origin_xy=origin, shape_yx=(self.shown.model.tile_px,) * 2)

    def _check_units(self) -> None:
        """By the tile in the middle: a cloud or a border may leave others out of range."""
        from training.evaluate.area import check_units

        middle = [max(0, (edge - self.shown.model.tile_px // self.shown.model.cell_px) // 2)
                  for edge in self.cells.shape_yx]  # fmt: skip
        check_units(self.shown.model.normalisation, self._read([(middle[0], middle[1])]))


def feature_area(weights: str, view: str | None, without: Sequence[str], level: str | None) -> AreaMap:
    """A map of the features of patches; raises `Fatal` for weights, a view or channels that there are not."""
    require("train", "a map")
    from training.evaluate.area import AreaFeatures
    from training.evaluate.patch_embedder import PatchEmbedder
    from training.weights.encoders import load_encoders

    embedder, left_out = PatchEmbedder.of(load_encoders(weights)).narrowed(without)
    chosen = view_of(view, embedder.views)
    sensor = next(item for item in embedder.sensors if item.name == chosen)
    layers = sensor.normalisation.band_names
    model = AreaFeatures(
        sensor, embedder.device, level, tuple(name for name in left_out if name.partition(".")[0] in layers)
    )
    return AreaMap(model, feature_layer(model.bands, "pixel", Path(weights).name), lambda values: values)


def prediction_area(weights: str, show: str | None, level: str | None) -> AreaMap:
    """A map of what a fine-tuned model says, see `predicted`; raises `Fatal` as that does, and for no such model."""
    require("train", "a map")
    from training.evaluate.area import AreaEstimates
    from training.evaluate.finetuned import load_finetuned

    tuned = load_finetuned(weights).on_best_device()
    shown = predicted(tuned, show, Path(weights).name, "pixel")
    return AreaMap(AreaEstimates.of_model(tuned, level), shown.layer, lambda values: shown.stored(values[None])[0])
