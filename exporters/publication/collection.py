"""The STAC collection of a data set: what its layers are, where they lie, and under which licences."""

from __future__ import annotations

from typing import Any

from exporters.formats.chip_facts import utc_text
from exporters.formats.stac_chips import VERSION, bands_of
from exporters.publication.dataset import Dataset
from pipeline.corpus_folder import MANIFEST, STORE
from pipeline.modality import Modality

ID = "chips"
COLLECTION = "collection.json"
_SCIENTIFIC = "https://stac-extensions.github.io/scientific/v1.0.0/schema.json"
_RASTER = "https://stac-extensions.github.io/raster/v2.0.0/schema.json"
_ZARR, _PARQUET = "application/vnd.zarr; version=3", "application/vnd.apache.parquet"


def store_asset() -> dict[str, Any]:
    """The whole store; row i of each of its arrays is that of item i."""
    return {"href": f"./{STORE}", "type": _ZARR, "title": "All layers", "roles": ["data"]}


def layer_asset(layer: Modality) -> dict[str, Any]:
    """The array of a layer."""
    return {"href": f"./{STORE}/{layer.name}", "type": _ZARR, "title": layer.title, "roles": ["data"]}


def collection(dataset: Dataset) -> dict[str, Any]:
    """The collection as it lies at `COLLECTION`."""
    about = dataset.about
    doi = {"sci:doi": about.doi} if about.doi else {}
    return {
        "type": "Collection", "stac_version": VERSION,
        "stac_extensions": [_RASTER, *([_SCIENTIFIC] if doi else [])],
        "id": ID, "title": about.title, "description": dataset.description, "license": dataset.licence,
        "keywords": list(about.keywords), "version": about.version, **doi,
        "providers": [{"name": creator.spoken, "roles": ["producer"]} for creator in about.creators],
        "extent": _extent(dataset), "summaries": {"geocorpus:split": sorted(dataset.splits)},
        "item_assets": {layer.name: _item_asset(dataset, layer) for layer in dataset.layers},
        "assets": _assets(), "links": _links(dataset),
    }  # fmt: skip


def _extent(dataset: Dataset) -> dict[str, Any]:
    interval = [utc_text(time) for time in dataset.times]
    return {"spatial": {"bbox": [list(dataset.bbox)]}, "temporal": {"interval": [interval]}}


def _item_asset(dataset: Dataset, layer: Modality) -> dict[str, Any]:
    licence = dataset.licence_of(layer)
    asset = {key: value for key, value in layer_asset(layer).items() if key != "href"} | {"bands": bands_of(layer)}
    return asset | {"license": licence.name, "attribution": licence.attribution}


def _assets() -> dict[str, Any]:
    return {
        "items": {"href": "./items.parquet", "type": _PARQUET, "title": "An item per chip", "roles": ["stac-items"]},
        "manifest": {"href": f"./{MANIFEST}", "type": _PARQUET, "title": "A row per chip", "roles": ["metadata"]},
        "store": store_asset(),
    }


def _links(dataset: Dataset) -> list[dict[str, str]]:
    licences = {dataset.licence_of(layer).url: dataset.licence_of(layer).name for layer in dataset.layers}
    named = [{"rel": "license", "href": url, "title": name} for url, name in sorted(licences.items()) if url]
    table = {"rel": "license", "href": "./LICENCES.md", "type": "text/markdown", "title": "Licences of all layers"}
    doi = [{"rel": "cite-as", "href": f"https://doi.org/{dataset.about.doi}"}] if dataset.about.doi else []
    root = {"rel": "root", "href": f"./{COLLECTION}", "type": "application/json"}
    return [root, {"rel": "about", "href": dataset.about.url}, table, *named, *doi]
