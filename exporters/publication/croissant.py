"""The data set as Croissant 1.1 with GeoCroissant 1.0: the manifest can be read with it, pixels are described."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from exporters.publication.chip_items import ITEMS
from exporters.publication.dataset import Dataset
from pipeline import durable
from pipeline.corpus_folder import MANIFEST, STORE
from pipeline.licence import OWN
from pipeline.modality import Modality

CROISSANT = "croissant.json"
_CONFORMS = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/geo/1.0"]
_PARQUET = "application/x-parquet"  # with the registered name, mlcroissant validates the file and cannot read it
_TERMS = ("citeAs", "column", "extract", "field", "fileProperty", "fileObject", "fileSet", "format", "includes",
          "isArray", "arrayShape", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet",
          "references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform",
          "equivalentProperty")  # fmt: skip
_CONTEXT = {
    "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/", "geocr": "http://mlcommons.org/croissant/geo/",
    "rai": "http://mlcommons.org/croissant/RAI/", "dct": "http://purl.org/dc/terms/", "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"}, "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, **{term: f"cr:{term}" for term in _TERMS},
}  # fmt: skip
_KINDS = {
    pa.string(): "sc:Text", pa.int64(): "cr:Int64", pa.float64(): "cr:Float64", pa.bool_(): "sc:Boolean",
    pa.date32(): "sc:Date", pa.timestamp("ms", tz="UTC"): "sc:DateTime",
}  # fmt: skip


def croissant(dataset: Dataset) -> dict[str, Any]:
    """The description as it lies at `CROISSANT`, of a data set whose other files are written."""
    about = dataset.about
    licences = [dataset.licence_of(layer) for layer in dataset.layers]
    return {
        "@context": _CONTEXT, "@type": "sc:Dataset", "conformsTo": _CONFORMS, "name": about.title,
        "description": dataset.description, "url": about.url, "version": about.version,
        "citeAs": about.citation,
        "license": sorted({about.licence, *(licence.url or licence.name for licence in licences if licence != OWN)}),
        "creator": [creator.croissant() for creator in about.creators], "datePublished": about.published.isoformat(),
        "keywords": list(about.keywords), "inLanguage": "en", **_places(dataset),
        "distribution": _distribution(dataset), "recordSet": [_chips(dataset), _pixels(dataset)],
    }  # fmt: skip


def _places(dataset: Dataset) -> dict[str, Any]:
    west, south, east, north = dataset.bbox
    first, last = (time.date().isoformat() for time in dataset.times)
    return {
        "spatialCoverage": {
            "@type": "sc:Place", "geo": {"@type": "sc:GeoShape", "box": f"{south:g} {west:g} {north:g} {east:g}"},
        },
        "temporalCoverage": f"{first}/{last}",
        "geocr:coordinateReferenceSystem": "EPSG:4326",  # of the outlines; that of each chip is a field
        "geocr:spatialResolution": f"{dataset.corpus.manifest.resolution_m:g} m",
    }  # fmt: skip


def _distribution(dataset: Dataset) -> list[dict[str, Any]]:
    store = {
        "@type": "cr:FileSet", "@id": STORE, "name": STORE, "encodingFormat": "application/vnd.zarr",
        "description": "A Zarr version 3 store: an array per layer, whose row i is that of the manifest.",
        "includes": f"{STORE}/**",
    }  # fmt: skip
    tables = {MANIFEST: "A row per chip: place, grid, scenes.", ITEMS: "The chips as STAC items."}
    return [*(_file(dataset, name, text) for name, text in tables.items()), store]


def _file(dataset: Dataset, name: str, description: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject", "@id": name, "name": name, "description": description, "contentUrl": name,
        "encodingFormat": _PARQUET, "sha256": durable.file_digest(dataset.corpus.folder / name),
    }  # fmt: skip


def _chips(dataset: Dataset) -> dict[str, Any]:
    """The manifest's columns, but outlines, for which Croissant has no type."""
    schema = pq.read_schema(dataset.corpus.folder / MANIFEST)
    fields = [_column(field.name, _KINDS[field.type]) for field in schema if field.type in _KINDS]
    return {"@type": "cr:RecordSet", "@id": "chips", "name": "chips", "key": {"@id": "chips/id"}, "field": fields}


def _column(name: str, kind: str) -> dict[str, Any]:
    source = {"fileObject": {"@id": MANIFEST}, "extract": {"column": name}}
    return {"@type": "cr:Field", "@id": f"chips/{name}", "name": name, "dataType": kind, "source": source}


def _pixels(dataset: Dataset) -> dict[str, Any]:
    """The layers of a chip: Croissant has no way to read Zarr, so they are described and not read."""
    fields = [_layer(dataset, layer) for layer in dataset.layers]
    return {"@type": "cr:RecordSet", "@id": "layers", "name": "layers", "field": fields}


def _layer(dataset: Dataset, layer: Modality) -> dict[str, Any]:
    bands = {"geocr:totalBands": len(layer.bands), "geocr:bandNameList": list(layer.band_names)}
    return {
        "@type": "cr:Field", "@id": f"layers/{layer.name}", "name": layer.name, "description": layer.title,
        "dataType": _array_type(layer.dtype), "isArray": True,
        "arrayShape": ",".join(map(str, layer.shape(dataset.size_px))),  # as text: mlcroissant refuses a list
        "source": {"fileSet": {"@id": STORE}, "extract": {"fileProperty": "content"}},
        "geocr:bandConfiguration": bands, "license": dataset.licence_of(layer).name,
    }  # fmt: skip


def _array_type(dtype: str) -> str:
    """Such as "cr:UInt16" for "uint16"."""
    return "cr:" + (f"UInt{dtype.removeprefix('uint')}" if dtype.startswith("uint") else dtype.capitalize())
