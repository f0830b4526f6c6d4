"""MMEarth's published files, version v001: for TorchGeo's `MMEarth`, MMEarth-train, and whatever else reads them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from exporters.formats.format import Format, Options
from exporters.formats.mmearth_v001.datasets import LAYERS, Dataset
from exporters.formats.mmearth_v001.hdf5 import h5py_module
from exporters.formats.mmearth_v001.layer_values import Encoding, LayerSource, NoSource, Source, refuse_other
from exporters.formats.mmearth_v001.tile_files import TileFiles
from exporters.formats.mmearth_v001.variants import VARIANTS, Variant, tiles_left
from exporters.formats.selection import Selection
from pipeline.errors import Fatal, unknown_name
from pipeline.progress import Progress

_MISSING = ("nodata", "refuse")
_OPTIONS = {
    "variant": "1M (the default: data_1M_v001), 64 (data_1M_v001_64: the middle 64 px of each chip) or 100k "
    "(data_100k_v001: no more than the first 100,000 chips)",
    "missing": "refuse (the default) or nodata, which fills what the corpus has no layer for",
}


def _write(selection: Selection, target: Path, options: Options, progress: Progress) -> str:
    variant = VARIANTS[_known("variant", options.get("variant", "1M"), VARIANTS)]
    missing = _known("missing", options.get("missing", "refuse"), _MISSING)
    h5py_module()
    size_px = _size_px(selection, variant)
    if missing == "refuse":
        _refuse_missing(selection)
    sources = [_source(dataset, selection, size_px) for dataset in LAYERS]
    rows = selection.rows[: variant.most]
    files = TileFiles(selection.corpus, rows, sources, variant.files(target), size_px)
    return _line(len(rows), variant, selection, files.write(progress))


def _known(what: str, value: str, known: Collection[str]) -> str:
    if value not in known:
        raise unknown_name(what, value, known)
    return value


def _size_px(selection: Selection, variant: Variant) -> int:
    chip_px = selection.corpus.manifest.size_px
    if (variant.size_px or 0) > chip_px:
        raise Fatal(f"chips of {chip_px} px have no middle of {variant.size_px}; leave out --set variant.")
    return variant.size_px or chip_px


def _refuse_missing(selection: Selection) -> None:
    absent = [dataset.name for dataset in LAYERS if dataset.name not in selection.layers]
    if absent:
        raise Fatal(
            f"MMEarth v001 has layers that are not chosen or not in {selection.corpus.folder}: {', '.join(absent)}; "
            "add them, or have nodata written in their place with --set missing=nodata."
        )


def _source(dataset: Dataset, selection: Selection, size_px: int) -> Source:
    if dataset.name not in selection.layers:
        return NoSource(dataset, size_px)
    modality = selection.corpus.modality(dataset.name)
    refuse_other(dataset, modality)
    return LayerSource(dataset, selection.layer(dataset.name), Encoding(dataset, modality, size_px))


def _line(tiles: int, variant: Variant, selection: Selection, unknown: dict[str, int]) -> str:
    parts = [f"{tiles} tiles of {variant.stem}"]
    if left_out := len(selection) - tiles:
        parts.append(f"{left_out} chips beyond {variant.most} are left out")
    parts += [f"{count} without a published {what}" for what, count in unknown.items() if count]
    return "; ".join(parts) + "."


MMEARTH_V001 = Format(
    "mmearth-v001", "MMEarth v001: one HDF5 file and three of JSON, as TorchGeo reads them", _write, _OPTIONS,
    leaves=tiles_left,
)  # fmt: skip
