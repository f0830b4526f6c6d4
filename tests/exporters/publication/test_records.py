"""The records of a data set, as the readers of each ecosystem take them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import geopandas as gpd
import mlcroissant
import numpy as np
import pyarrow.parquet as pq
import pystac
import pytest
import shapely
import stac_geoparquet.arrow
import yaml
from huggingface_hub import DatasetCard

from exporters.publication.chip_items import ChipItems
from exporters.publication.croissant import croissant
from exporters.publication.dataset import Dataset
from pipeline.corpus import Corpus
from pipeline.grid import Grid, utm_crs
from pipeline.licence import OWN, UNKNOWN, cc_by_4
from pipeline.manifest import Manifest
from tests.exporters.publication.published import ABOUT, TERMS, own_corpus, publish
from tests.pipeline.chips import MODALITIES, make_chip
from tests.pipeline.damage import finished_corpus


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("records")
    publish(own_corpus(base / "corpus"), base / "out", columns=("crop", "sown", "seen", "irrigated", "field"))
    return base / "out"


@pytest.fixture(scope="module")
def items(folder: Path) -> list[pystac.Item]:
    table = pq.read_table(folder / "items.parquet")
    return [pystac.Item.from_dict(item) for item in stac_geoparquet.arrow.stac_table_to_items(table)]


def test_stac_items_say_where_each_chip_is(folder, items):
    manifest = Corpus.open(folder).manifest
    assert [item.id for item in items] == [chip.location.id for chip in manifest]
    for item, chip in zip(items, manifest, strict=True):
        assert shapely.geometry.shape(item.geometry).equals_exact(chip.grid.footprint(), 1e-9)
        assert item.properties["proj:code"] == chip.grid.crs
        assert item.properties["proj:transform"] == list(chip.grid.transform)
        assert item.properties["proj:shape"] == list(chip.grid.shape_yx)
        assert np.allclose(item.properties["proj:bbox"], chip.grid.bounds_xy)
        assert item.datetime == chip.acquisition.date
        assert item.properties["geocorpus:row"] == chip.row and item.properties["geocorpus:split"] == chip.split
        assert item.properties["geocorpus:own_crop"] == chip.own["crop"]
        assert "geocorpus:own_field" not in item.properties and "geocorpus:own_plot" not in item.properties


def test_an_item_has_no_asset_for_a_layer_without_data(folder, items):
    lacking = {row for entry in Corpus.open(folder).findings("optical") for row in entry.missing}
    assert lacking == {0, 4, 8}
    for row, item in enumerate(items):
        assert ("optical" in item.assets) == (row not in lacking)
        assert item.assets["cover"].href == "./corpus.zarr/cover" and "store" in item.assets


def test_the_collection_knows_extent_licences_and_files(folder):
    collection = pystac.Collection.from_file(str(folder / "collection.json"))
    assert collection.license == "other" and collection.title == ABOUT.title
    assert {link.href for link in collection.get_links("license")} >= {TERMS["cover"].url, TERMS["optical"].url}
    west, south, east, north = collection.extent.spatial.bboxes[0]
    bounds = gpd.read_parquet(folder / "items.parquet").total_bounds
    assert np.allclose(bounds, [west, south, east, north])
    assert all((folder / asset.href).exists() for asset in collection.assets.values())
    assert json.loads(pq.read_schema(folder / "items.parquet").metadata[b"stac-geoparquet"])["version"] == "1.1.0"


def test_duckdb_reads_items_and_manifest(folder):
    rows = duckdb.sql(
        f"select m.split, count(*), count(i.assets.optical.href) from '{folder}/items.parquet' i "  # noqa: S608
        f"join '{folder}/manifest.parquet' m using (id) where i.bbox.xmin >= -180 group by all order by all"
    ).fetchall()
    assert sum(count for _, count, _ in rows) == 9 and sum(with_data for *_, with_data in rows) == 6


def test_items_across_the_antimeridian_are_cut_there(tmp_path):
    lonlat = (179.9999, 10.0)
    chip = make_chip(1)
    place = replace(chip.location, lon=lonlat[0], lat=lonlat[1], id="edge")
    edge = replace(chip, location=place, grid=Grid.around(lonlat, utm_crs(lonlat), 16))
    Manifest.freeze([edge, make_chip(2)], 0).write(tmp_path / "manifest.parquet")
    corpus = Corpus.create(tmp_path, MODALITIES, 4)
    dataset = Dataset(corpus, ABOUT, dict.fromkeys(corpus.modalities, OWN))
    ChipItems(dataset).write(tmp_path / "items.parquet")
    table = gpd.read_parquet(tmp_path / "items.parquet").set_index("id")
    outline = table.geometry["edge"]
    rows = pq.read_table(tmp_path / "items.parquet", columns=["id", "bbox"]).to_pylist()
    box = {row["id"]: row["bbox"] for row in rows}["edge"]
    assert outline.geom_type == "MultiPolygon" and len(outline.geoms) == 2
    assert outline.bounds[0] >= -180 and outline.bounds[2] <= 180
    assert box["xmin"] > 179.9 and box["xmax"] < -179.9
    assert dataset.bbox[0] == -180.0 and dataset.bbox[2] == 180.0


@pytest.mark.slow
def test_croissant_validates_and_its_rows_can_be_read(folder):
    dataset = mlcroissant.Dataset(jsonld=folder / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors and not dataset.metadata.ctx.issues.warnings
    manifest = Corpus.open(folder).manifest
    rows = list(dataset.records("chips"))
    assert [row["chips/id"].decode() for row in rows] == manifest.column("id").tolist()
    assert [row["chips/origin_x_m"] for row in rows] == manifest.column("origin_x_m").tolist()
    assert {row["chips/crop"] and row["chips/crop"].decode() for row in rows} == set(manifest.column("crop"))


def test_croissant_has_what_the_specifications_require(folder):
    plain = json.loads((folder / "croissant.json").read_text())
    required = {
        "@context", "@type", "conformsTo", "name", "description", "license", "url", "creator", "datePublished",
        "distribution", "geocr:coordinateReferenceSystem", "geocr:spatialResolution", "spatialCoverage",
    }  # fmt: skip
    assert required <= {key for key, value in plain.items() if value}
    assert plain["conformsTo"] == ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/geo/1.0"]
    layers = {field["name"]: field for field in plain["recordSet"][1]["field"]}
    assert layers["optical"]["arrayShape"] == "3,16,16" and layers["optical"]["dataType"] == "cr:UInt16"
    assert layers["optical"]["geocr:bandConfiguration"]["geocr:bandNameList"] == ["red", "green", "cirrus"]
    assert plain["spatialCoverage"]["geo"]["box"].split()[0] < plain["spatialCoverage"]["geo"]["box"].split()[2]


def test_croissant_says_that_a_licence_is_unknown(tmp_path):
    corpus = finished_corpus(tmp_path, chips=3)
    corpus.manifest.write(tmp_path / "items.parquet")  # of which the digest alone is asked for
    licences = {"cover": TERMS["cover"], "optical": UNKNOWN, "climate": OWN}
    said = croissant(Dataset(corpus, ABOUT, licences))["license"]
    assert said == sorted([ABOUT.licence, TERMS["cover"].url, "unknown: ask its maker"])


def test_the_card_is_one_that_the_hub_client_takes(folder):
    card = DatasetCard.load(folder / "README.md")
    plain = card.data.to_dict()
    assert (plain["license"], plain["license_name"], plain["license_link"]) == ("other", "per-layer", "LICENCES.md")
    assert plain["size_categories"] == ["n<1K"] and "crops" in plain["tags"]
    assert plain["configs"][0]["data_files"] == [{"split": "chips", "path": "manifest.parquet"}]
    for word in ("## Licences", "ODbL-1.0", "geocorpus.open", "10.5281/zenodo.1", "3 x 16 x 16"):
        assert word in card.text


def test_the_licence_table_has_a_line_for_each_layer(folder):
    lines = (folder / "LICENCES.md").read_text().splitlines()
    assert (
        "| `cover` | Land cover | [ODbL-1.0](https://opendatacommons.org/licenses/odbl/1-0/) | © Contributors \\| all |"
        in lines
    )
    assert any("Sentinel data 2017." in line for line in lines)


def test_the_citation_has_people_and_groups(folder):
    plain = yaml.safe_load((folder / "CITATION.cff").read_text())
    assert plain["authors"][0] == {
        "family-names": "Doe", "given-names": "Jane", "orcid": "https://orcid.org/0000-0002-1825-0097",
    }  # fmt: skip
    assert plain["authors"][1] == {"name": "The Lab"}
    assert (plain["type"], plain["version"], plain["doi"]) == ("dataset", "1.2.0", "10.5281/zenodo.1")


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        ({"cover": OWN, "optical": OWN, "climate": OWN}, "CC-BY-4.0"),
        ({"cover": OWN, "optical": cc_by_4("a"), "climate": cc_by_4("b")}, "CC-BY-4.0"),
        ({"cover": OWN, "optical": cc_by_4("a"), "climate": UNKNOWN}, "other"),
        (TERMS, "other"),
    ],
)
def test_the_licence_of_the_whole_is_one_only_if_all_are(tmp_path, licences, expected):
    assert Dataset(finished_corpus(tmp_path, chips=3), ABOUT, licences).licence == expected
