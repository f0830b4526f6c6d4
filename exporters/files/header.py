"""What a raster file says before its pixels are read: where it lies, its bands, dtypes, nodata, scales and tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from exporters.files.lattice import Lattice
from exporters.files.open_raster import opened
from pipeline.errors import Fatal

_CONTAINERS = {".nc": 'NETCDF:"{}":{}', ".nc4": 'NETCDF:"{}":{}', ".h5": 'HDF5:"{}"://{}', ".hdf5": 'HDF5:"{}"://{}'}


@dataclass(frozen=True)
class Header:
    """One value per band in `dtypes`, `names` ("" for none), `nodata`, `scales`, `offsets` and `units`."""

    path: str
    lattice: Lattice
    shape_yx: tuple[int, int]
    dtypes: tuple[str, ...]
    names: tuple[str, ...]
    nodata: tuple[float | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    units: tuple[str, ...]
    tags: Mapping[str, str]

    @classmethod
    def of(cls, path: str) -> Header:
        """The header of a file. Raises `Fatal` for what is no raster, or has no place on Earth, or holds several."""
        raster = opened(path)
        file = raster.dataset
        if not file.count and file.subdatasets:
            inside = ", ".join(sorted(name.rpartition(":")[2].strip("/") for name in file.subdatasets))
            raise Fatal(f"{path} holds several rasters; name them in `variables` of its layer: {inside}.")
        return cls(
            path, raster.lattice, raster.shape_yx, tuple(file.dtypes), raster.band_names, tuple(file.nodatavals),
            tuple(file.scales), tuple(file.offsets), tuple(unit or "" for unit in file.units), file.tags(),
        )  # fmt: skip

    @property
    def are_named(self) -> bool:
        """Whether every band has a name, and each another."""
        return all(self.names) and len(set(self.names)) == len(self.names)


def variable_path(path: str, variable: str) -> str:
    """How GDAL is asked for a variable of a netCDF or HDF5 file. Raises `Fatal` for a file of another kind."""
    suffix = path[path.rfind(".") :].lower()
    if suffix not in _CONTAINERS:
        raise Fatal(f"{path} is neither netCDF nor HDF5, so it has no variable {variable!r}; leave `variables` out.")
    return _CONTAINERS[suffix].format(path, variable)
