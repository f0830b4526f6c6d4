"""Images and masks in files that GDAL reads: GeoTIFF, PNG, JPEG."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError

from exporters.formats.benchmarks.band_names import described
from exporters.formats.benchmarks.labelled_images import Image
from pipeline.errors import Fatal

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Raster:
    """`values` (bands, y, x) as stored, the file's `nodata`, and the names of its bands, None where it has none."""

    values: NDArray[Any]
    nodata: float | None
    names: tuple[str, ...] | None

    @property
    def image(self) -> Image:
        """As float32, NaN where there is no data."""
        values = self.values.astype(np.float32)
        return values if self.nodata is None else np.where(self.values == self.nodata, np.float32(np.nan), values)


def read_raster(path: Path) -> Raster:
    """A file; raises `Fatal` for one that is absent, damaged or no image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # Pictures need no place.
            with rasterio.open(path) as source:
                return Raster(source.read(), source.nodata, described(source.descriptions))
    except (RasterioError, RasterioIOError, OSError) as error:
        what = "does not exist" if not path.exists() else "is damaged or no image"
        raise Fatal(f"{path} {what}; mend it, or leave it out of the data set.") from error
