"""A GeoTIFF as a question: the bands of layers that an encoder looks at, found by their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from pipeline.errors import Fatal
from pipeline.modality import Modality
from pipeline.statistics import EVERYTHING


@dataclass(frozen=True)
class ImageFile:
    """Pixels (bands, y, x), the names of the bands, "" where one has none, the file's nodata, and its tags."""

    path: Path
    pixels: NDArray[Any]
    names: tuple[str, ...]
    nodata: float | None
    tags: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> ImageFile:
        """The file at `path`; raises `Fatal` where it cannot be read."""
        try:
            with rasterio.open(path) as file:
                names = tuple(name or "" for name in file.descriptions)
                return cls(path, file.read(), names, file.nodata, file.tags())
        except (OSError, rasterio.errors.RasterioError) as error:
            raise Fatal(f"{path} cannot be read as a raster ({error}); give a GeoTIFF.") from error

    def layers(self, wanted: Mapping[str, Modality]) -> dict[str, NDArray[Any]]:
        """Stored numbers (bands, y, x) of each of the `wanted` layers whose bands the file has, all by name.

        A file without names counts as one layer where it has as many bands as only one of them. Raises `Fatal` where
        it has none.
        """
        found = {name: self._named(layer) for name, layer in wanted.items() if set(layer.band_names) <= set(self.names)}
        fitting = [name for name, layer in wanted.items() if len(layer.bands) == len(self.pixels)]
        if not found and not any(self.names) and len(fitting) == 1:
            found = {fitting[0]: self._with_fill(wanted[fitting[0]], self.pixels)}
        if not found:
            needs = "; ".join(f"{name}: {', '.join(layer.band_names)}" for name, layer in wanted.items())
            has = ", ".join(filter(None, self.names)) or f"{len(self.pixels)} without names"
            raise Fatal(f"{self.path} has the bands {has}, and the encoder needs {needs}; name them in the file.")
        return found

    def group(self, layer: Modality, groups: Mapping[str, Any]) -> str:
        """The group of statistics of the image in a layer: its tag of that name, or the only group there is."""
        if layer.statistics_by is None:
            return EVERYTHING
        group = self.tags.get(layer.statistics_by) or (next(iter(groups)) if len(groups) == 1 else "")
        if group not in groups:
            raise Fatal(
                f"{self.path} does not say its {layer.statistics_by} ({', '.join(groups)}), by which {layer.name} is "
                f"normalised; write it as a tag, such as gdal_edit.py -mo {layer.statistics_by}={next(iter(groups))}."
            )
        return group

    def _named(self, layer: Modality) -> NDArray[Any]:
        return self._with_fill(layer, self.pixels[[self.names.index(name) for name in layer.band_names]])

    def _with_fill(self, layer: Modality, pixels: NDArray[Any]) -> NDArray[Any]:
        """With the layer's own nodata in place of the file's."""
        if self.nodata is None:
            return pixels
        absent = np.isnan(pixels) if np.isnan(self.nodata) else pixels == self.nodata
        return np.where(absent, layer.fill.astype(pixels.dtype), pixels) if absent.any() else pixels
