"""Which of many files lie under a chip: their extents, found once and kept beside the corpus, which says where values
came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from exporters.files.extent import Box, extent_of
from exporters.files.open_raster import OpenRaster, file_in
from pipeline import durable
from pipeline.errors import Fatal
from pipeline.geoparquet import WGS84, geo_header
from pipeline.grid import Grid

_AT_ONCE = 8
_TURNS_DEG = (0.0, -360.0, 360.0)


@dataclass(frozen=True)
class IndexedFile:
    """A file of a layer. `group` says which of its bands it holds; size and time are None of what is not on a disk."""

    path: str
    group: int
    bytes: int | None
    changed_ns: int | None
    west: float
    south: float
    east: float
    north: float

    @property
    def box(self) -> Box:
        """West, south, east, north in degrees."""
        return self.west, self.south, self.east, self.north

    @classmethod
    def of(cls, path: str, group: int, extent: Box | None = None) -> IndexedFile:
        """A file as it is now; `extent` saves opening it. Raises `Fatal` as `OpenRaster`."""
        if extent is None:
            raster = OpenRaster(path)
            extent = extent_of(raster.lattice, raster.shape_yx)
        return cls(path, group, *_state(path), *extent)


def _state(path: str) -> tuple[int | None, int | None]:
    try:
        status = Path(file_in(path)).stat()
    except OSError:
        return None, None
    return status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class FileIndex:
    """The files of a layer, in the order in which they lie on each other: the last is on top."""

    files: tuple[IndexedFile, ...]

    @classmethod
    def of(cls, groups: Sequence[Iterable[str]], known: FileIndex | None = None) -> FileIndex:
        """The index of each group's paths; what `known` has of unchanged files is not looked up again."""
        before = {(item.path, item.group): item for item in known.files} if known else {}
        wanted = [(path, group) for group, paths in enumerate(groups) for path in paths]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return cls(tuple(pool.map(lambda item: _renewed(item[0], item[1], before), wanted)))

    @classmethod
    def read(cls, path: Path) -> FileIndex | None:
        """What `write` wrote; None where nothing is. Raises `Fatal` for a damaged file."""
        if not path.exists():
            return None
        try:
            rows = pq.read_table(path, columns=list(_SCHEMA.names)).to_pylist()
            return cls(tuple(IndexedFile(**row) for row in rows))
        except (OSError, ValueError, TypeError, pa.ArrowException) as error:
            raise Fatal(f"{path} cannot be read ({error}); restore it from a copy.") from error

    def write(self, path: Path) -> None:
        """Publish it as GeoParquet: a row per file, with its extent. Raises `Fatal` when the folder is read-only."""
        table = pa.Table.from_pylist([asdict(item) for item in self.files], _SCHEMA)
        boxes = pa.array(shapely.to_wkb([shapely.box(*item.box) for item in self.files]), pa.binary())
        table = table.append_column("geometry", boxes).replace_schema_metadata(geo_header("Polygon", crs=WGS84))
        durable.publish(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))

    def under(self, grid: Grid, group: int) -> list[str]:
        """Paths of the group's files whose extents meet the chip's, the uppermost last."""
        west, south, east, north = grid.footprint().bounds
        boxes = [shapely.box(west + turn, south, east + turn, north) for turn in _TURNS_DEG]
        found = sorted({int(index) for box in boxes for index in self._tree.query(box)})
        return [self.files[index].path for index in found if self.files[index].group == group]

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree([shapely.box(*item.box) for item in self.files])

    def replaced_in(self, later: FileIndex) -> list[str]:
        """Paths of files that have another size there, or are not there any more."""
        sizes = {(item.path, item.group): item.bytes for item in later.files}
        return [item.path for item in self.files if sizes.get((item.path, item.group), -1) != item.bytes]


def _renewed(path: str, group: int, before: Mapping[tuple[str, int], IndexedFile]) -> IndexedFile:
    known = before.get((path, group))
    if known and (known.bytes, known.changed_ns) == _state(path):
        return known
    return IndexedFile.of(path, group)


_SCHEMA = pa.schema([
    ("path", pa.string()), ("group", pa.int32()), ("bytes", pa.int64()), ("changed_ns", pa.int64()),
    ("west", pa.float64()), ("south", pa.float64()), ("east", pa.float64()), ("north", pa.float64()),
])  # fmt: skip
