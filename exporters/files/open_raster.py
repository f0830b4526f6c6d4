"""A raster file that is open: where it lies, and the physical values of any window of its bands."""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property, lru_cache, reduce
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio import Affine
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window

from exporters.files.lattice import Lattice
from exporters.files.pixel_window import PixelWindow
from pipeline.errors import Fatal, GeocorpusError, Transient

_KEPT_OPEN = 16  # files of each thread: those around a chip, of a few layers
# Of a server GDAL would list the folder and ask for files beside each file, which is half of all requests.
# Without limits it waits for ever for one that connects and does not answer; seconds, and bytes a second.
_REMOTE = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_HTTP_MAX_RETRY": 4, "GDAL_HTTP_RETRY_DELAY": 1,
    "GDAL_HTTP_CONNECTTIMEOUT": 15, "GDAL_HTTP_LOW_SPEED_TIME": 30, "GDAL_HTTP_LOW_SPEED_LIMIT": 1000,
    "GDAL_HTTP_TIMEOUT": 300,
}  # fmt: skip
Raw = tuple[NDArray[Any], NDArray[np.bool_] | None]  # numbers of a file, and where they are no data; None for nowhere
_EARTH_RADIUS_M = (6.3e6, 6.5e6)
_VARIABLE = re.compile(r'(?:NETCDF|HDF5):"(.*)":.*', re.IGNORECASE)


class OpenRaster:
    """A raster file, for one thread. Raises `Fatal` where it is no raster, of another body, or has no place on Earth.

    Reading raises `Fatal` for a damaged file, and `Transient` for a remote one, which may answer later.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            with rasterio.Env(**_unset(_REMOTE)) if is_remote(path) else nullcontext():
                self._file: Any = rasterio.open(path)
        except (RasterioError, OSError) as error:
            raise self._unreadable(error) from error
        self.shape_yx: tuple[int, int] = self._file.shape

    @property
    def dataset(self) -> Any:
        """The file as rasterio has it open, for its tags."""
        return self._file

    @cached_property
    def lattice(self) -> Lattice:
        """Its CRS and pixels. Raises `Fatal` for a file that does not say them, or is of another body than Earth."""
        if self._file.crs is None:
            raise Fatal(f"{self.path} has no CRS; give it one with `gdal_edit.py -a_srs EPSG:... {self.path}`.")
        if self._file.transform.is_identity:
            raise Fatal(f"{self.path} does not say where its pixels lie; warp it to a grid with gdalwarp first.")
        if not _has_extent(self._file.transform):
            raise Fatal(
                f"{self.path} has pixels without an extent; warp it to a grid with gdalwarp first, or leave it out."
            )
        return Lattice(_of_earth(self.path, self._file.crs.to_wkt()), tuple(self._file.transform)[:6])

    @property
    def band_names(self) -> tuple[str, ...]:
        """The descriptions of the bands, "" for none."""
        return tuple(name or "" for name in self._file.descriptions)

    @property
    def band_count(self) -> int:
        """How many bands it has, an alpha band among them."""
        return int(self._file.count)

    @property
    def data_bands(self) -> tuple[int, ...]:
        """The numbers of its bands without that of an alpha band."""
        return tuple(band for band in range(1, self.band_count + 1) if band != self._alpha)

    def physical(self, bands: Sequence[int], window: PixelWindow, nodata: float | None = None) -> NDArray[np.float64]:
        """Values of bands (numbers from 1) in a window, (bands, y, x): the tags' scale and offset applied.

        NaN for nodata, for what a mask or an alpha band hides, and outside the file. An alpha band that is among
        `bands` is data; `nodata` is a number in the file that is no datum beside those that it says. Raises `Fatal`
        for a band that the file lacks, and for complex numbers.
        """
        self._refuse_absent(bands)
        inner = window.within(self.shape_yx)
        if inner == window:
            return self._inside(bands, inner, nodata)
        values = np.full((len(bands), window.height, window.width), np.nan)
        if inner.pixels:
            values[:, *window.part(inner)] = self._inside(bands, inner, nodata)
        return values

    def raw(self, bands: Sequence[int], window: PixelWindow, nodata: float | None = None) -> Raw | None:
        """The numbers as they are in the file, and where they are no data; None for a window that reaches beyond it.

        `nodata` is as in `physical`, and it raises the same.
        """
        self._refuse_absent(bands)
        return self._raw(bands, window, nodata) if window.within(self.shape_yx) == window else None

    def _raw(self, bands: Sequence[int], window: PixelWindow, nodata: float | None) -> Raw:
        where = Window(window.column, window.row, window.width, window.height)
        try:
            values = self._file.read(list(bands), window=where)
            return values, self._hidden(bands, values, where, nodata)
        except (RasterioError, OSError) as error:
            raise self._unreadable(error) from error

    def _inside(self, bands: Sequence[int], window: PixelWindow, nodata: float | None) -> NDArray[np.float64]:
        raw, hidden = self._raw(bands, window, nodata)
        values = raw.astype(np.float64)
        scales, offsets = ([tags[band - 1] for band in bands] for tags in (self._file.scales, self._file.offsets))
        if any(scale != 1 for scale in scales) or any(offsets):
            values = values * np.reshape(scales, (-1, 1, 1)) + np.reshape(offsets, (-1, 1, 1))
        if hidden is not None:
            values[hidden] = np.nan
        return values

    def _hidden(
        self, bands: Sequence[int], raw: NDArray[Any], where: Window, nodata: float | None
    ) -> NDArray[np.bool_] | None:
        """True where a number is no datum; None where each of them is one."""
        parts = [~np.isfinite(raw)] if raw.dtype.kind == "f" else []
        tags = [self._file.nodatavals[band - 1] for band in bands]
        for wanted in (tags, [nodata] * len(bands)):
            if len(set(wanted)) == 1:
                parts += [] if wanted[0] is None else [_equals(raw, wanted[0])]
            elif any(value is not None for value in wanted):
                parts.append(np.stack([_equals(band, value) for band, value in zip(raw, wanted, strict=True)]))
        if self._alpha and self._alpha not in bands:
            parts.append(np.broadcast_to(self._file.read(self._alpha, window=where) == 0, raw.shape))
        if self._has_mask:
            parts.append(self._file.read_masks(list(bands), window=where) == 0)
        return reduce(np.logical_or, parts) if parts else None

    @cached_property
    def _alpha(self) -> int:
        """The number of the alpha band, 0 for none."""
        kinds = self._file.colorinterp
        return kinds.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in kinds else 0

    @cached_property
    def _has_mask(self) -> bool:
        """Whether it has a mask of its own, in the file or beside it."""
        return any(flags == [MaskFlags.per_dataset] for flags in self._file.mask_flag_enums)

    def _refuse_absent(self, bands: Sequence[int]) -> None:
        absent = [band for band in bands if not 1 <= band <= self.band_count]
        if absent:
            raise Fatal(f"{self.path} has {self.band_count} bands, so none of number {absent[0]}; correct its bands.")
        complex_ones = [band for band in bands if "complex" in self._file.dtypes[band - 1]]
        if complex_ones:
            raise Fatal(f"band {complex_ones[0]} of {self.path} has complex numbers; convert it to real ones first.")

    def _unreadable(self, error: Exception) -> GeocorpusError:
        why = str(error.__cause__ or error).rstrip(".")
        if is_remote(self.path):
            return Transient(
                f"{self.path} could not be read ({why}); check that its server answers and has it, and run the same "
                "command again."
            )
        return Fatal(f"{self.path} cannot be read as a raster ({why}); restore it from a copy, or leave it out.")


def _unset(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of GDAL's options that the environment does not set."""
    return {name: value for name, value in options.items() if name not in os.environ}


def _equals(band: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Where bands have their nodata; for real numbers within two steps of the dtype, as GDAL takes it."""
    if nodata is None or np.isnan(nodata):
        return np.zeros(band.shape, dtype=np.bool_)  # NaN is hidden anyhow
    if band.dtype.kind != "f":
        return np.asarray(band == nodata)
    with np.errstate(over="ignore", invalid="ignore"):
        value = band.dtype.type(nodata)
        near = np.abs(band - value) <= 2 * np.finfo(band.dtype).eps * np.abs(value)
    return np.asarray((near & np.isfinite(value)) | (band == value))  # all is within infinity of infinity


def _has_extent(transform: Affine) -> bool:
    return bool(np.isfinite(transform.determinant) and transform.determinant)


def _of_earth(path: str, wkt: str) -> CRS:
    try:
        crs = _parsed(wkt)
    except CRSError as error:
        raise Fatal(f"{path} has a CRS that PROJ does not know; give it another with gdal_edit.py -a_srs.") from error
    low_m, high_m = _EARTH_RADIUS_M
    if crs.ellipsoid is None or crs.is_geocentric:
        raise Fatal(f"{path} has a CRS without a place on Earth ({crs.name}); give it another with gdal_edit.py.")
    if not low_m < crs.ellipsoid.semi_major_metre < high_m:
        raise Fatal(f"{path} is not of Earth: its CRS has the ellipsoid {crs.ellipsoid.name}; leave it out.")
    return crs


@lru_cache(maxsize=256)
def _parsed(wkt: str) -> CRS:
    """A folder of tiles has the same few over and over, and each takes as long to read as a small tile."""
    return CRS.from_wkt(wkt)


def is_remote(path: str) -> bool:
    """Whether a path that GDAL opens leads over a network."""
    file = file_in(path)
    return "://" in file or file.startswith(("/vsicurl", "/vsis3/", "/vsigs/", "/vsiaz/"))


def is_address(path: str) -> bool:
    """Whether GDAL opens it as it is, and not relative to a folder."""
    return "://" in path or path.startswith("/vsi")


def file_in(path: str) -> str:
    """The file of which a path that GDAL opens names a variable, as `HDF5:"/a.h5"://v` does; else the path."""
    variable = _VARIABLE.fullmatch(path)
    return variable[1] if variable else path


class _Files(threading.local):
    """The open files of a thread. A forked child opens its own: it would share the parent's places in the files."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.by_key: OrderedDict[tuple[object, ...], OpenRaster] = OrderedDict()


_files = _Files()


def opened(path: str) -> OpenRaster:
    """The open file, the same object for a thread as long as it is in use and the file does not change.

    Raises as `OpenRaster`.
    """
    if _files.process != os.getpid():
        _files.process, _files.by_key = os.getpid(), OrderedDict()
    key = _key(path)
    _close_former(key)
    raster = _files.by_key.pop(key, None) or OpenRaster(path)
    _files.by_key[key] = raster
    while len(_files.by_key) > _KEPT_OPEN:
        _files.by_key.popitem(last=False)
    return raster


def _key(path: str) -> tuple[object, ...]:
    file = file_in(path)
    try:
        status = Path(file).stat()
    except OSError:  # remote, or absent, which opening it says
        return path, file
    return path, file, status.st_ino, status.st_size, status.st_mtime_ns


def _close_former(key: tuple[object, ...]) -> None:
    """Close what a file was before it changed: while that is open, the netCDF library gives its values for the name."""
    _, file, *state = key
    for former in [other for other in _files.by_key if other[1] == file and list(other[2:]) != state]:
        del _files.by_key[former]
