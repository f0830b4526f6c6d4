"""MMEarth's published files, version v001, into a corpus: the full one, that of 64 pixels, and the 100k."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from exporters.formats.format import Options
from exporters.formats.importer import Catalogue, Importer, Incoming
from exporters.formats.mmearth_v001.datasets import BIOME, CANOPY, LAYERS, PLACES, RELIEF
from exporters.formats.mmearth_v001.layer_blocks import LayerBlocks, layer_of
from exporters.formats.mmearth_v001.published_files import arrays_below, files_of
from exporters.formats.mmearth_v001.tile_file import TileFile
from exporters.formats.mmearth_v001.tile_table import TileTable, read_tiles
from pipeline.errors import unknown_name
from pipeline.modality import Modality

_EXACT = ("no", "yes")
_OPTIONS = {"exact": "yes keeps real numbers that a layer rounds (radar, to 0.01 dB) in float32; no is the default"}


def _open(source: Path, options: Options, catalogue: Catalogue) -> Incoming:
    exact = options.get("exact", "no")
    if exact not in _EXACT:
        raise unknown_name("value of exact", exact, _EXACT)
    files = files_of(source)
    arrays = TileFile(files.arrays)
    names = {category.code: category.name for category in catalogue[BIOME.name].categories}
    table = read_tiles(files, arrays.ids(), arrays.size_px, names)
    layers = _layers(arrays, catalogue, is_own=bool(table.is_own.all()), is_exact=exact == "yes")
    return Incoming(table.manifest, layers, LayerBlocks(arrays, table).read, tuple(_unknown(arrays, table)))


def _layers(arrays: TileFile, catalogue: Catalogue, *, is_own: bool, is_exact: bool) -> tuple[Modality, ...]:
    return tuple(layer_of(dataset, catalogue[dataset.name], is_own, is_exact) for dataset in arrays.datasets)


def _unknown(arrays: TileFile, table: TileTable) -> Iterator[str]:
    """What these files cannot say."""
    if not table.is_own.all():
        yield (
            "MMEarth v001 gives the date of the optical scene alone: ids and times of scenes, and those of the radar "
            "scenes, are not known."
        )
        yield (
            "MMEarth v001 gives centre and CRS of a tile: its grid is the one of 10 m that fits them best, which may "
            "be a pixel off."
        )
    yield f"Masks of {RELIEF.name} and {CANOPY.name} are not known: 0 may stand for no data."
    lacking = [item.name for item in (*LAYERS, *PLACES) if item not in arrays.datasets]
    if lacking:
        yield f"The file has no {', '.join(lacking)}."
    if arrays.strangers:
        yield f"Left out, as v001 does not have it: {', '.join(arrays.strangers)}."


MMEARTH_V001_IN = Importer(
    "mmearth-v001",
    "MMEarth v001: a folder with <name>.h5, <name>_tile_info.json and <name>_splits.json",
    lambda source: bool(arrays_below(source)),
    _open,
    _OPTIONS,
)
