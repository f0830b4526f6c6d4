"""The files of MMEarth v001 as they are found: a folder of the four, the folder above it, or the HDF5 file itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporters.formats.mmearth_v001.variants import Files
from pipeline import durable
from pipeline.errors import Fatal
from pipeline.manifest import SPLITS

_SUFFIX = ".h5"
_UNLISTED = -1


def arrays_below(source: Path) -> list[Path]:
    """The HDF5 files that a path may mean: itself, those of a folder, or those of the folders in it."""
    if source.is_file():
        return [source] if source.suffix == _SUFFIX else []
    return sorted(source.glob(f"*{_SUFFIX}")) or sorted(source.glob(f"*/*{_SUFFIX}"))


def files_of(source: Path) -> Files:
    """The four files. Raises `Fatal` where there is no HDF5 file or more than one, and where one of JSON is lacking.

    Band statistics are not needed: those of a corpus are its own.
    """
    found = arrays_below(source)
    if len(found) != 1:
        many = f"{len(found)} files *{_SUFFIX}; give one of them" if found else f"no file *{_SUFFIX}; check the path"
        raise Fatal(f"{source} holds {many}.")
    files = Files(found[0].parent, found[0].stem)
    for path in (files.tile_info, files.splits):
        if not path.is_file():
            raise Fatal(f"{path} is not there, without which {files.arrays.name} cannot be understood; put it beside.")
    return files


def splits_of(files: Files, tiles: int) -> NDArray[np.int8]:
    """The place (tiles,) of each tile's split in `SPLITS`; raises `Fatal` unless each tile is in exactly one."""
    path = files.splits
    known = durable.read_as(path, dict[str, list[int]], "copy it again")
    numbers = np.full(tiles, _UNLISTED, dtype=np.int8)
    for number, name in enumerate(SPLITS):
        rows = np.asarray(known.get(name, []), dtype=np.int64)
        if rows.size and not 0 <= rows.min() <= rows.max() < tiles:
            raise Fatal(f"{path} names rows beyond the {tiles} of {files.arrays.name}; it belongs to another file.")
        if (numbers[rows] != _UNLISTED).any() or np.unique(rows).size != rows.size:
            raise Fatal(f"{path} names a row twice; it is not of v001, or damaged.")
        numbers[rows] = number
    if lacking := int((numbers == _UNLISTED).sum()):
        raise Fatal(f"{path} gives no split to {lacking} of the {tiles} tiles of {files.arrays.name}; correct it.")
    return numbers
