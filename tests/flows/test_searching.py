"""`geocorpus search` and `plot`: what is found and written, by every kind of question, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from PIL import Image
from typer.testing import CliRunner

from tests.extras import NO_TORCH

pytest.importorskip("torch", reason=NO_TORCH)

from exporters.formats.choice import Choice
from exporters.formats.embeddings.store import EmbeddingStore
from exporters.formats.geotiff import GEOTIFF
from exporters.formats.search.search_index import SearchIndex
from flows.embedding import EMBEDDINGS, EmbeddingFile, Source
from flows.searching import Question, Search
from flows.terminal.cli import app
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.progress import Silent
from tests.training.conftest import one_thread  # noqa: F401 (a fixture that every test here uses)
from tests.training.embedded import towers_of
from tests.training.sensor_corpus import SENSORS, make_sensors
from training.weights.weights import save_encoder

ROWS = 20


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Twenty chips of three sensors, a run with a tower for each, and their embeddings beside the corpus."""
    corpus = make_sensors(tmp_path_factory.mktemp("beside") / "sensors", ROWS)
    for name, tower in zip(SENSORS, towers_of(corpus), strict=True):
        save_encoder(corpus.folder / "runs" / "towers" / f"encoder-{name}.safetensors", tower)
    source = Source(str(corpus.folder / "runs" / "towers"))
    EmbeddingFile(corpus.folder.parent / "chips.zarr", EMBEDDINGS).write(source, Choice(), Silent())
    patches = EmbeddingFile(corpus.folder.parent / "patches.zarr", EMBEDDINGS)
    patches.write(Source(source.weights, per="patch"), Choice(), Silent())
    return corpus


@pytest.fixture
def store(corpus: Corpus) -> EmbeddingStore:
    return EmbeddingStore.open(corpus.folder.parent / "chips.zarr")


def run(*arguments: str | Path) -> str:
    """What a command prints; raises what it raises."""
    outcome = CliRunner().invoke(app, [str(item) for item in arguments])
    if outcome.exception and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def found(*arguments: str | Path) -> list[dict[str, object]]:
    result: list[dict[str, object]] = json.loads(run("search", *arguments, "--json"))["found"]
    return result


def by_hand(store: EmbeddingStore, view: str, query: np.ndarray) -> list[int]:
    """Rows by falling cosine of the float32 vectors, without those that have none."""
    values = store.values(view)
    cosines = values @ query / np.linalg.norm(values, axis=1) / np.linalg.norm(query)
    return [int(row) for row in np.argsort(-cosines, kind="stable") if np.isfinite(cosines[row])]


def test_the_nearest_chips_are_those_of_the_vectors_themselves(store: EmbeddingStore) -> None:
    answer = found(store.path, "--chip", store.ids[4], "-k", "19")
    assert [item["row"] for item in answer] == by_hand(store, "fused", store.values("fused")[4])
    assert [item["rank"] for item in answer] == list(range(20))
    assert answer[0]["id"] == store.ids[4] and answer[0]["similarity"] == pytest.approx(1)
    assert "nearest to" in run("search", store.path, "--chip", store.ids[4])


def test_chips_without_data_of_a_sensor_are_not_found_by_it(store: EmbeddingStore) -> None:
    answer = found(store.path, "--chip", store.ids[4], "--view", "echo", "-k", "50")
    assert sorted(int(str(item["row"])) for item in answer) == [row for row in range(ROWS) if row % 4 != 1]
    with pytest.raises(Fatal, match="no embedding by echo"):
        run("search", store.path, "--chip", store.ids[1], "--view", "echo")


def test_a_place_is_that_of_the_nearest_chip(store: EmbeddingStore) -> None:
    lon, lat = store.lonlat[7]
    answer = found(store.path, "--at", f"{lon + 0.001},{lat}")
    assert answer[0]["id"] == store.ids[7] and answer == found(store.path, "--chip", store.ids[7])
    with pytest.raises(Fatal, match=r"no chip is near 0.5,-80: the nearest, .*, is .* km away"):
        run("search", store.path, "--at", "0.5,-80")


def test_examples_rank_all_chips_by_probability(store: EmbeddingStore) -> None:
    ids = store.ids
    answer = found(store.path, "--like", ids[3], "--like", ids[4], "--unlike", ids[8], "-k", "20")
    probabilities = [float(str(item["probability"])) for item in answer]
    assert probabilities == sorted(probabilities, reverse=True) and answer[-1]["rank"] == 20
    order = [item["id"] for item in answer]
    assert max(order.index(ids[3]), order.index(ids[4])) < order.index(ids[8])
    alone = found(store.path, "--like", ids[3])
    assert [item["row"] for item in alone] == [item["row"] for item in found(store.path, "--chip", ids[3], "-k", "19")]
    for like, unlike, message in (
        (ids[3], ids[3], "both wanted and not"),
        ("nothing", ids[3], "has no chip 'nothing'"),
    ):
        with pytest.raises(Fatal, match=message):
            run("search", store.path, "--like", like, "--unlike", unlike)


def test_an_image_finds_the_chip_that_it_is(corpus: Corpus, store: EmbeddingStore, tmp_path: Path) -> None:
    path = _exported(corpus, tmp_path, "light", 6)
    answer = found(store.path, "--image", path, "--view", "light", "-k", "5")
    assert answer[0]["row"] == 6 and answer[0]["similarity"] == pytest.approx(1, abs=1e-3)
    assert answer[0]["rank"] == 1
    assert len(found(store.path, "--image", path)) == 20  # by the views that it has, in the space that all share
    with pytest.raises(Fatal, match="has nothing for the view echo; it has light"):
        run("search", store.path, "--image", path, "--view", "echo")


def test_an_image_of_other_bands_and_another_model_are_refused(
    corpus: Corpus, store: EmbeddingStore, tmp_path: Path
) -> None:
    path, other = _exported(corpus, tmp_path, "light", 6), tmp_path / "other.tif"
    with rasterio.open(path) as file:
        profile, pixels = file.profile, file.read()
    with rasterio.open(other, "w", **profile) as file:
        file.write(pixels)
        file.descriptions = ["x"] * len(pixels)
    with pytest.raises(Fatal, match="other.tif has the bands x.* and the encoder needs .*; name them in the file"):
        run("search", store.path, "--image", other)
    with pytest.raises(Fatal, match="are by other weights"):
        weights = corpus.folder / "runs" / "towers" / "encoder-light.safetensors"
        run("search", store.path, "--image", path, "--weights", weights)
    with pytest.raises(Fatal, match="cannot be read as a raster"):
        run("search", store.path, "--image", tmp_path / "absent.tif")


def _exported(corpus: Corpus, folder: Path, layer: str, row: int) -> Path:
    """The GeoTIFF that `convert` writes of a chip."""
    target = folder / "rasters"
    GEOTIFF.write(Choice(rows=str(row), layers=[layer]).of(corpus), target, {}, Silent())
    (path,) = target.rglob("*.tif")
    return path


def test_what_was_found_is_geoparquet_and_a_sheet_of_chips(store: EmbeddingStore, tmp_path: Path) -> None:
    out = tmp_path / "near.parquet"
    said = run("search", store.path, "--chip", store.ids[2], "-k", "8", "--out", out)
    assert f"wrote {out}" in said and str(tmp_path / "near.png") in said
    table = geopandas.read_parquet(out)
    assert list(table.columns) == ["rank", "id", "row", "similarity", "lon", "lat", "geometry"]
    assert table["rank"].tolist() == list(range(9)) and table.crs.to_epsg() == 4326
    assert table.geometry.contains(
        geopandas.GeoSeries(geopandas.points_from_xy(table["lon"], table["lat"]), crs=4326)
    ).all()
    with Image.open(tmp_path / "near.png") as sheet:
        assert sheet.width > 1000 and len(set(sheet.resize((60, 60)).get_flattened_data())) > 50


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("near.png", "is the name of pictures; name the table, such as near.parquet"),
        ("sensors/manifest.parquet", "holds the corpus itself, or lies in it"),
        ("chips.zarr/near.parquet", "lies in the store that is searched"),
        ("notes.parquet", "exists, and is not of an earlier search"),
        ("photo.parquet", "photo.png exists, and is not of an earlier search"),
    ],
)
def test_a_search_writes_over_nothing_but_its_own(corpus: Corpus, store: EmbeddingStore, name: str, words: str) -> None:
    beside = corpus.folder.parent
    for own in ("notes.parquet", "photo.png"):
        (beside / own).write_text("mine")
    before = corpus.manifest.digest
    with pytest.raises(Fatal, match=words):
        run("search", store.path, "--chip", store.ids[2], "--out", beside / name)
    assert [(beside / own).read_text() for own in ("notes.parquet", "photo.png")] == ["mine", "mine"]
    assert Corpus.open(corpus.folder).manifest.digest == before and not (beside / "near.png").exists()


def test_a_search_replaces_what_an_earlier_one_found(store: EmbeddingStore, tmp_path: Path) -> None:
    out = tmp_path / "near.parquet"
    for chip in (2, 3):
        run("search", store.path, "--chip", store.ids[chip], "-k", "3", "--out", out)
    assert geopandas.read_parquet(out)["id"][0] == store.ids[3]


def test_without_its_corpus_a_search_says_what_is_missing(store: EmbeddingStore, tmp_path: Path) -> None:
    import shutil

    alone = shutil.copytree(store.path, tmp_path / "alone.zarr")
    said = run("search", alone, "--chip", store.ids[2], "--out", tmp_path / "near.parquet")
    assert "no pictures of the chips" in said and not (tmp_path / "near.png").exists()
    with pytest.raises(Fatal, match="say where it is with --corpus"):
        run("plot", alone, tmp_path / "plots", "--colour", "biome_name")


def test_the_matrix_is_made_once_and_again_when_it_is_damaged(store: EmbeddingStore) -> None:
    search = Search.open(store.path, "light")
    matrix = search.matrix().copy()
    path = store.path.with_name("chips.zarr.search") / "light.npy"
    before = path.stat().st_mtime_ns
    assert np.array_equal(Search.open(store.path, "light").matrix(), matrix, equal_nan=True)
    assert path.stat().st_mtime_ns == before
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert np.array_equal(search.matrix(), matrix, equal_nan=True) and path.read_bytes() == content
    os.utime(path, ns=(1, 1))  # a copy with another time, and the same bytes
    changed = path.stat().st_ctime_ns
    assert np.array_equal(search.matrix(), matrix, equal_nan=True) and path.stat().st_ctime_ns == changed
    assert not SearchIndex.beside(store.path, "light", "another source")._is_good()


def test_plots_are_pictures_of_all_chips(store: EmbeddingStore, tmp_path: Path) -> None:
    said = run("plot", store.path, tmp_path, "--colour", "split", "--colour", "lat", "--colour", "anchor_time")
    for name in ("map", "split", "lat", "anchor_time"):
        assert str(tmp_path / f"{name}.png") in said
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.width > 1000
    again = tmp_path / "again"
    run("plot", store.path, again, "--colour", "split")
    for name in ("map.png", "split.png"):
        assert (again / name).read_bytes() == (tmp_path / name).read_bytes()
    with pytest.raises(Fatal, match="unknown column 'splot'; did you mean 'split'"):
        run("plot", store.path, again, "--colour", "splot")


def test_too_few_chips_for_a_plane_leave_no_picture(corpus: Corpus, tmp_path: Path) -> None:
    source = Source(str(corpus.folder / "runs" / "towers"))
    EmbeddingFile(tmp_path / "one.zarr", EMBEDDINGS).write(source, Choice(rows="0"), Silent())
    with pytest.raises(Fatal, match="too few for a plane"):
        run("plot", tmp_path / "one.zarr", tmp_path / "pictures", "--colour", "lat")
    assert not (tmp_path / "pictures").exists()


def test_bad_questions_are_one_sentence(corpus: Corpus, store: EmbeddingStore, tmp_path: Path) -> None:
    for question, message in (
        (Question, "ask for one thing"),
        (lambda: Question(chip="a", at="1,2"), "ask for one thing"),
        (lambda: Question(chip="a", unlike=("b",)), "ask for one thing"),
    ):
        with pytest.raises(Fatal, match=message):
            question()
    for arguments, message in (
        (["--chip", "nobody"], "has no chip 'nobody'; its ids are like"),
        (["--at", "here"], "write it as LON,LAT"),
        (["--at", "10,95"], "longitude comes first"),
        (["--chip", store.ids[0], "--view", "fusd"], "did you mean 'fused'"),
        (["--chip", store.ids[0], "--corpus", str(tmp_path)], "geocorpus"),
    ):
        with pytest.raises(Fatal, match=message):
            run("search", store.path, *arguments)
    with pytest.raises(Fatal, match="is no store of embeddings"):
        run("search", tmp_path, "--chip", "x")
    with pytest.raises(Fatal, match="embed with --per chip"):
        run("search", corpus.folder.parent / "patches.zarr", "--chip", "x")
