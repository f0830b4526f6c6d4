"""The dataset card: README.md with the front matter that the Hugging Face Hub reads."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import yaml

from exporters.publication.checksums import SUMS
from exporters.publication.chip_items import ITEMS
from exporters.publication.citation import CITATION
from exporters.publication.dataset import MIXED, Dataset
from exporters.publication.licence_table import LICENCES, licence_rows
from pipeline.corpus_folder import MANIFEST
from pipeline.modality import Modality

CARD = "README.md"
_TAGS = ("earth-observation", "remote-sensing", "geospatial", "zarr", "stac", "croissant")
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_HUB_NAMES = {"odbl-1.0": "odbl"}  # all others are the SPDX identifier in small letters


def card_text(dataset: Dataset) -> str:
    """The card."""
    front = yaml.safe_dump(front_matter(dataset), sort_keys=False, allow_unicode=True, width=120)
    return "\n".join(["---", front.rstrip(), "---", "", *_body(dataset), ""])


def front_matter(dataset: Dataset) -> dict[str, Any]:
    """What the Hub reads. The viewer gets the manifest alone: tables of other columns would break it."""
    files = [{"split": "chips", "path": MANIFEST}]
    return {
        **_licence(dataset), "pretty_name": dataset.about.title, "language": ["en"],
        "tags": list(dict.fromkeys([*_TAGS, *dataset.about.keywords])), "task_categories": _tasks(dataset),
        "size_categories": [_size(len(dataset.corpus.manifest))],
        "configs": [{"config_name": "manifest", "default": True, "data_files": files}],
    }  # fmt: skip


def _licence(dataset: Dataset) -> dict[str, str]:
    if dataset.licence == MIXED:
        return {"license": MIXED, "license_name": "per-layer", "license_link": LICENCES}
    name = dataset.licence.lower()
    return {"license": _HUB_NAMES.get(name, name)}


def _tasks(dataset: Dataset) -> list[str]:
    classes = {layer.extent for layer in dataset.layers if layer.categories}
    more = {"pixel": "image-segmentation", "image": "image-classification"}
    return ["image-feature-extraction", *(name for extent, name in more.items() if extent in classes)]


def _size(count: int) -> str:
    return next((name for limit, name in _SIZES if count < limit), "n>10M")


def _body(dataset: Dataset) -> list[str]:
    about, splits = dataset.about, ", ".join(f"{name} {count:,}" for name, count in dataset.splits.items())
    first, last = dataset.times
    return [
        f"# {about.title}", "", dataset.description, "",
        f"Version {about.version}, {about.published.isoformat()}. Chips: {len(dataset.corpus.manifest):,} ({splits}). "
        f"Anchor scenes: {first:%Y-%m-%d} to {last:%Y-%m-%d}.", "",
        "## Layers", *_layers(dataset), "", "## Licences",
        f"What its publishers have made is under {about.licence}; each layer is under the licence of its source "
        f"([{LICENCES}]({LICENCES})).", "", *licence_rows(dataset), "",
        "## Use", *_use(), "", "## Files", *_files(), "",
        "## Citation", f"{about.citation} See [{CITATION}]({CITATION}).",
    ]  # fmt: skip


def _layers(dataset: Dataset) -> list[str]:
    rows = [_layer(dataset, layer) for layer in dataset.layers]
    return ["| layer | what | shape of a chip | dtype | nodata | time rule |", "|---|---|---|---|---|---|", *rows]


def _layer(dataset: Dataset, layer: Modality) -> str:
    shape = " x ".join(map(str, layer.shape(dataset.size_px)))
    scaled = f", physical = stored * {layer.scale:g} + {layer.offset:g}" if layer.scale != 1 or layer.offset else ""
    title = " ".join(f"{layer.title}{scaled}".replace("|", "\\|").split())
    return f"| `{layer.name}` | {title} | {shape} | {layer.dtype} | {layer.fill.item()} | {layer.time_rule} |"


def _use() -> list[str]:
    return [
        "```python", "import xarray", "", 'data = xarray.open_zarr("corpus.zarr")  # names, units, nodata inside', "",
        "import geocorpus", "", 'corpus = geocorpus.open(".")', "chip = corpus.chip(0).xarray()  # with CRS, x and y",
        "```", f"`sha256sum -c {SUMS}` and `geocorpus verify .` tell whether a copy is whole.",
    ]  # fmt: skip


def _files() -> list[str]:
    return [
        "| file | what |", "|---|---|", "| `corpus.zarr` | Zarr version 3: an array per layer, row i is chip i |",
        f"| `{MANIFEST}` | GeoParquet: place, grid, scenes and split of each chip |",
        f"| `{ITEMS}`, `collection.json` | STAC: an item per chip, the collection |",
        "| `croissant.json` | Croissant 1.1 with GeoCroissant 1.0 |",
        f"| `ledger/`, `statistics.json`, `seal.json` | digests, statistics; of geocorpus {version('geocorpus')} |",
    ]  # fmt: skip
