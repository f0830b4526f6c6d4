"""Files in, beside a plain loop of rasterio that writes the same bytes.

The plain loop is what a person would write: each file is opened and read, each shard of an array is filled in memory
and written by zarr-python into the same layout and codec, in one thread and without a look at the values. Ours is
`geocorpus export`, which besides masks and compares values, looks for what is wrong with them, gathers statistics,
keeps checksums and a ledger. `x_rasterio_read` is the time of the plain loop divided by ours; above 1 ours is faster.
`x_rasterio_read_alone` is that of a loop that reads and writes nothing; `_cpu` is of processors' seconds instead. What
`sample` and `anchor` take beside that, once, is in the table.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import zarr
from numpy.typing import NDArray
from rasterio import Affine

from benchmarks.exchange_parts.part import Part, interleaved, ratios
from flows import stages
from flows.settings import Settings, with_overrides
from pipeline.corpus import Corpus
from pipeline.progress import Silent

_ROUNDS = 3
_SIZE_PX = 128
_SHARD_ROWS = 64
_BANDS = {"optical": (12, "uint16"), "cover": (1, "uint8")}
_SMOOTH_PX = 8


def measure(folder: Path, quick: bool) -> Part:
    """Some hundred places of 128 px, each a file of 12 bands of uint16 and one of classes; fewer if `quick`."""
    chips = 64 if quick else 512
    _write_files(folder / "files", chips)
    settings = _settings(folder)
    ways = {
        "geocorpus export": partial(_export, settings),
        "plain rasterio loop into Zarr": partial(_plain_loop, folder),
        "plain rasterio loop, reading alone": partial(_read, folder),
    }
    choosing = interleaved({"geocorpus sample, anchor": partial(_choose, settings)}, 1)
    _export(settings)
    _plain_loop(folder)
    _compare(settings, folder)
    spent = choosing | interleaved(ways, 1 if quick else _ROUNDS)
    _, ours, plain, reading = spent.values()
    megabytes = chips * sum(count * np.dtype(dtype).itemsize for count, dtype in _BANDS.values()) * _SIZE_PX**2 / 1e6
    return Part(
        f"Files in: {chips} places of {len(_BANDS)} files, {megabytes:.0f} MB",
        megabytes,
        spent,
        ratios("x_rasterio_read", [plain], ours) | ratios("x_rasterio_read_alone", [reading], ours),
    )


def _write_files(folder: Path, chips: int) -> None:
    """Smooth fields with noise, which shrink about as real ones; classes in patches."""
    random = np.random.default_rng(0)
    for name, (count, dtype) in _BANDS.items():
        (folder / name).mkdir(parents=True)
        for row in range(chips):
            coarse = random.integers(1, 9, (count, _SIZE_PX // _SMOOTH_PX, _SIZE_PX // _SMOOTH_PX))
            values = coarse.repeat(_SMOOTH_PX, 1).repeat(_SMOOTH_PX, 2)
            if dtype == "uint16":
                values = values * 800 + random.integers(0, 200, values.shape)
            _write(folder / name / f"{row:04d}.tif", values.astype(dtype), row)


def _write(path: Path, values: NDArray[Any], row: int) -> None:
    """A file of its own place: they lie along a diagonal."""
    transform = Affine(10.0, 0.0, 300_000.0 + 1280 * row % 400_000, 0.0, -10.0, 5_000_000.0 + 1280 * row)
    profile = {"driver": "GTiff", "count": len(values), "height": _SIZE_PX, "width": _SIZE_PX, "dtype": values.dtype,
               "compress": "deflate", "nodata": 0, "photometric": "MINISBLACK"}  # fmt: skip
    with rasterio.open(path, "w", crs="EPSG:32631", transform=transform, **profile) as file:
        file.write(values)


def _settings(folder: Path) -> Settings:
    classes = {str(code): f"class {code}" for code in range(1, 10)}
    layers: dict[str, dict[str, Any]] = {name: {"files": f"{name}/{{place}}.tif"} for name in _BANDS}
    layers["cover"]["classes"] = classes
    plain: Mapping[str, Any] = {
        "corpus": {"folder": str(folder / "corpus"), "size_px": _SIZE_PX, "shard_rows": _SHARD_ROWS},
        "source": {"kind": "files"}, "files": {"folder": str(folder / "files"), "time": "2020-06-01"},
        "layers": layers, "split": {"train": 1.0, "val": 0.0, "test": 0.0},
    }  # fmt: skip
    return with_overrides(plain, ())


def _choose(settings: Settings) -> None:
    with stages.earth_engine(settings) as engine:
        stages.sample(settings, None, Silent())
        stages.anchor(settings, engine, Silent())


def _export(settings: Settings) -> None:
    for part in ("corpus.zarr", "ledger", "spool"):
        shutil.rmtree(settings.folder / part, ignore_errors=True)
    with stages.earth_engine(settings) as engine:
        stages.export(settings, engine, Silent())


def _paths(folder: Path, name: str) -> list[Path]:
    """In the order of the corpus: its rows are shuffled."""
    corpus = Corpus.open(folder / "corpus")
    return [folder / "files" / str(chip.own[f"file_{name}"]) for chip in corpus.manifest]


def _read(folder: Path) -> None:
    for name in _BANDS:
        for path in _paths(folder, name):
            with rasterio.open(path) as file:
                file.read()


def _plain_loop(folder: Path) -> None:
    shutil.rmtree(folder / "plain.zarr", ignore_errors=True)
    ours = zarr.open_group(folder / "corpus" / "corpus.zarr", mode="r")
    group = zarr.create_group(folder / "plain.zarr")
    for name in _BANDS:
        like: Any = ours[name]
        array = group.create_array(
            name, shape=like.shape, dtype=like.dtype, chunks=like.chunks, shards=like.shards,
            compressors=like.compressors, fill_value=like.fill_value,
        )  # fmt: skip
        paths = _paths(folder, name)
        for start in range(0, len(paths), _SHARD_ROWS):
            part = paths[start : start + _SHARD_ROWS]
            block = np.empty((len(part), *like.shape[1:]), like.dtype)
            for row, path in enumerate(part):
                with rasterio.open(path) as file:
                    block[row] = file.read()
            array[start : start + len(part)] = block


def _compare(settings: Settings, folder: Path) -> None:
    plain = zarr.open_group(folder / "plain.zarr", mode="r")
    corpus = Corpus.open(settings.folder)
    for name in _BANDS:
        theirs: Any = plain[name]
        assert np.array_equal(corpus.read(name, slice(0, len(corpus.manifest))), theirs[:])
