"""`geocorpus embed` into a store and into a table: what is in them, how readers see it, and how it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import duckdb
import geopandas
import numpy as np
import pytest
import xarray
from typer.testing import CliRunner

from tests.extras import NO_TORCH

pytest.importorskip("torch", reason=NO_TORCH)

from exporters.formats.choice import Choice
from exporters.formats.embeddings.draft import EmbeddingDraft, begun_beside
from exporters.formats.embeddings.store import EmbeddingStore
from flows.embedding import EMBEDDINGS, GEOPARQUET, EmbeddingFile
from flows.embedding_source import Source
from flows.terminal.cli import app
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.interpreter import module_command, safe_environment
from pipeline.progress import Silent
from tests.training.conftest import one_thread  # noqa: F401 (a fixture that every test here uses)
from tests.training.embedded import convnext_of, towers_of
from tests.training.sensor_corpus import SENSORS, make_sensors
from training.evaluate.embedder import Embedder
from training.evaluate.patch_embedder import PatchEmbedder
from training.model.normalisation import Normalisation
from training.weights.weights import save_encoder

ROWS = np.arange(20)
VIEWS = tuple(sorted(SENSORS))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Twenty chips of three sensors; a run with a tower for each, and one of a ConvNeXt."""
    corpus = make_sensors(tmp_path_factory.mktemp("sensors"), 20)
    for name, tower in zip(SENSORS, towers_of(corpus), strict=True):
        save_encoder(corpus.folder / "runs" / "towers" / f"encoder-{name}.safetensors", tower)
    save_encoder(corpus.folder / "runs" / "one" / "encoder.safetensors", convnext_of(corpus, ["light"]))
    return corpus


def run(corpus: Corpus, target: Path, *options: str, name: str = "towers", to: str = EMBEDDINGS, **more: object) -> str:
    """What `embed` says."""
    source = Source(str(corpus.folder / "runs" / name), **_of(Source, more))  # type: ignore[arg-type]
    made = EmbeddingFile(target, to, ("chunk_rows=4", *options), **_of(EmbeddingFile, more))  # type: ignore[arg-type]
    return made.write(source, Choice(rows=str(more.get("rows", ""))), Silent())


def _of(kind: type, given: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in given.items() if name in kind.__dataclass_fields__}  # type: ignore[attr-defined]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def store(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    target = tmp_path_factory.mktemp("out") / "chips.zarr"
    assert run(corpus, target) == "20 chips in 4 views (echo, ground, light, fused)."
    assert not begun_beside(target).exists()
    return EmbeddingStore.open(target)


def test_a_store_holds_what_the_encoders_give(corpus: Corpus, store: EmbeddingStore) -> None:
    vectors = Embedder.of(towers_of(corpus)).embed(corpus, ROWS)
    assert store.views == (*VIEWS, "fused") and store.width == 16
    for view in store.views:
        np.testing.assert_allclose(store.values(view), vectors[view], rtol=2e-5, atol=2e-6)
    assert np.isnan(store.values("echo")[1]).all() and store.valid_share("echo")[1] == 0
    assert 0.2 < store.valid_share("echo")[2] <= 0.5 < store.valid_share("echo")[4]  # seen in its upper half alone
    assert store.rows.tolist() == ROWS.tolist()
    assert store.ids.tolist() == corpus.manifest.column("id").tolist()
    centres = [corpus.manifest[int(row)].grid.centre_lonlat for row in store.rows]
    np.testing.assert_allclose(store.lonlat, centres, atol=1e-9)


def test_a_store_says_what_it_is_by_the_convention(corpus: Corpus, store: EmbeddingStore) -> None:
    for view, sources in (("light", ["light"]), ("fused", list(VIEWS))):
        about = json.loads((store.path / view / "zarr.json").read_text())["attributes"]
        assert about["zarr_conventions"][0]["uuid"] == "61c12cc5-0e28-4056-999a-480cf3fb7e4c"
        assert (about["geoemb:type"], about["geoemb:dimensions"], about["geoemb:data_type"]) == ("chip", 16, "float32")
        assert about["geoemb:model"].startswith("urn:sha256:") and about["geoemb:source_data"] == sources
        assert about["geoemb:chip_layout"] == {"layout_type": "irregular", "chip_size": [24, 24]}
        assert about["geoemb:gsd"] == 10
    assert store.corpus_digest == corpus.manifest.digest


def test_xarray_sees_a_view_with_places_and_grids(corpus: Corpus, store: EmbeddingStore) -> None:
    with xarray.open_zarr(store.path, group="light", consolidated=False) as data:
        assert data["embeddings"].dims == ("chip", "dimension") and data.sizes == {"chip": 20, "dimension": 16}
        chip = corpus.manifest[7]
        one = data["embeddings"].sel(chip=chip.location.id)
        np.testing.assert_array_equal(one.values, store.values("light")[7])
        assert float(one["origin_x_m"]) == chip.grid.origin_xy[0] + 40 and int(one["row"]) == 7
        assert str(one["time"].values)[:10] == str(chip.acquisition.date.date())


def test_patches_have_a_map_for_each_chip(corpus: Corpus, tmp_path: Path) -> None:
    run(corpus, tmp_path / "patches.zarr", per="patch", rows="2:9")
    store = EmbeddingStore.open(tmp_path / "patches.zarr")
    expected = PatchEmbedder.of(towers_of(corpus)).embed(corpus, np.arange(2, 9))
    assert store.views == VIEWS and store.values("light").shape == (7, 64, 4, 4)
    for view in VIEWS:
        np.testing.assert_allclose(store.values(view), expected[view], rtol=2e-5, atol=2e-6)
    assert np.isnan(store.values("echo")[0][:, 2:]).all() and not np.isnan(store.values("echo")[0][:, :2]).any()
    about = json.loads((store.path / "echo" / "zarr.json").read_text())["attributes"]
    assert (about["geoemb:type"], about["geoemb:gsd"]) == ("pixel", 80) and "geoemb:chip_layout" not in about


def test_what_is_left_out_is_not_in_the_store(corpus: Corpus, tmp_path: Path) -> None:
    run(corpus, tmp_path / "some.zarr", without=("ground", "light.red"))
    store = EmbeddingStore.open(tmp_path / "some.zarr")
    vectors = Embedder.of(towers_of(corpus)).embed(corpus, ROWS, ("ground", "light.red"))
    assert store.views == ("echo", "light", "fused")
    for view in store.views:
        np.testing.assert_allclose(store.values(view), vectors[view], rtol=2e-5, atol=2e-6)
    _, light, fused = store.description.views
    assert light.channels == ("light.green",) and fused.channels == ("echo.up", "echo.down", "light.green")


@pytest.mark.parametrize("scale", ["vector", "dimension"])
def test_bytes_lose_little_and_say_how_much(corpus: Corpus, store: EmbeddingStore, tmp_path: Path, scale: str) -> None:
    line = run(corpus, tmp_path / "bytes.zarr", "dtype=int8", f"scale={scale}")
    assert f"int8, a scale per {scale}" in line and "light: recall@1 " in line and "recall@10 " in line
    small = EmbeddingStore.open(tmp_path / "bytes.zarr")
    for view in store.views:
        exact, rounded = store.values(view), small.values(view)
        assert np.array_equal(np.isnan(exact), np.isnan(rounded))
        axis = 1 if scale == "vector" else 0
        step = np.nanmax(np.where(np.isnan(exact), 0, np.abs(exact)), axis=axis, keepdims=True) / 127
        assert np.nanmax(np.abs(exact - rounded) / step) <= 0.5001
    with xarray.open_zarr(small.path, group="fused", consolidated=False) as data:
        plain = data["embeddings"] * data["scales"]
        np.testing.assert_allclose(plain.values, small.values("fused"), rtol=1e-6)
        assert data.attrs["geoemb:data_type"] == "int8"
        assert data.attrs["geoemb:quantization"]["scale"] == {"type": "array", "array_name": "scales"}


def test_a_table_has_major_toms_columns(corpus: Corpus, store: EmbeddingStore, tmp_path: Path) -> None:
    path = tmp_path / "chips.parquet"
    run(corpus, path, to=GEOPARQUET)
    table = geopandas.read_parquet(path)
    assert table.crs.to_epsg() == 4326 and table["unique_id"].is_unique and table["unique_id"].str.len().eq(64).all()
    absent = int(np.isnan(store.values("echo")).all(axis=1).sum())
    assert len(table) == 80 - absent
    for view in store.views:
        lines = table[table["view"] == view]
        np.testing.assert_array_equal(np.stack(lines["embedding"]), store.values(view)[lines["row"]])
        np.testing.assert_allclose(lines["valid_share"], store.valid_share(view)[lines["row"]])
    one = table[(table["view"] == "light") & (table["row"] == 3)].iloc[0]
    chip = corpus.manifest[3]
    assert (one["chip"], one["utm_crs"], one["split"]) == (chip.location.id, chip.grid.crs, chip.split)
    assert one["timestamp"] == chip.acquisition.date.strftime("%Y%m%dT%H%M%S")
    assert one["product_id"] == chip.acquisition.anchor.asset_id.rpartition("/")[2]
    assert list(one["pixel_bbox"]) == [4, 4, 28, 28] and list(one["channels"]) == ["light.red", "light.green"]
    assert one.geometry.contains(geopandas.points_from_xy([one["centre_lon"]], [one["centre_lat"]])[0])
    assert one["utm_footprint"].startswith("POLYGON")


def test_duckdb_reads_the_table(corpus: Corpus, store: EmbeddingStore, tmp_path: Path) -> None:
    path = tmp_path / "chips.parquet"
    run(corpus, path, to=GEOPARQUET, name="one")
    table = duckdb.read_parquet(str(path))
    assert table.aggregate("count(*), max(len(embedding))").fetchall() == [(20, 128)]
    kinds = dict(zip(table.columns, map(str, table.types), strict=True))
    assert (kinds["grid_row_u"], kinds["embedding"], kinds["centre_lat"]) == ("SMALLINT", "FLOAT[]", "FLOAT")


@pytest.mark.parametrize("after", [0, 1, 3, 4])
def test_it_goes_on_after_a_stop_to_the_same_bytes(
    corpus: Corpus, store: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    write, count = EmbeddingDraft.write, []

    def failing(self: EmbeddingDraft, part: int, *values: object) -> None:
        if len(count) == after:
            raise RuntimeError("stopped")
        count.append(part)
        write(self, part, *values)  # type: ignore[arg-type]

    target = tmp_path / "chips.zarr"
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(EmbeddingDraft, "write", failing)
        run(corpus, target)
    assert not target.exists()
    _write_rubbish(begun_beside(target), after)
    begun = len(count)
    monkeypatch.setattr(EmbeddingDraft, "write", lambda *given: count.append(given[1]) or write(*given))
    run(corpus, target)
    assert begun == after and sorted(count) == list(range(5))
    assert files_of(target) == files_of(store.path)


def _write_rubbish(draft: Path, after: int) -> None:
    """What a killed process may leave: a part without its mark, and a file that is not whole."""
    chunk = draft / "store.zarr" / "light" / "embeddings" / "c" / str(after) / "0"
    chunk.parent.mkdir(parents=True, exist_ok=True)
    chunk.write_bytes(b"other")
    (chunk.parent / f"0.{'0' * 32}.partial").write_bytes(b"ha")


def test_something_else_is_not_gone_on_with(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "chips.zarr"
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(EmbeddingDraft, "write", lambda *given: 1 / 0)
        run(corpus, target)
    with pytest.raises(Fatal, match=r"chips.zarr was begun with other weights; give the same again, or --overwrite"):
        run(corpus, target, name="one")
    with pytest.raises(Fatal, match="was begun with other channels left out"):
        run(corpus, target, without=("light.red",))
    with pytest.raises(Fatal, match="was begun with other chips or settings"):
        run(corpus, target, rows="0:7")
    run(corpus, target, name="one", overwrite=True)
    assert EmbeddingStore.open(target).views == ("light",)
    with pytest.raises(Fatal, match="exists; choose another target, or give --overwrite"):
        run(corpus, target)
    run(corpus, target, overwrite=True)
    (target / "notes.txt").write_text("mine")
    with pytest.raises(Fatal, match=r"chips.zarr holds notes.txt, which this command does not write"):
        run(corpus, target, overwrite=True)
    assert (target / "notes.txt").read_text() == "mine"


def test_what_cannot_be_embedded_is_said(corpus: Corpus, tmp_path: Path) -> None:
    target = tmp_path / "x.zarr"
    for words, given in {
        "unknown sensor to leave out 'lihgt'; did you mean 'light'": {"without": ("lihgt",)},
        "unknown channel of light to leave out 'rde'": {"without": ("light.rde",)},
        "nothing is left of light to look at": {"without": ("light",), "name": "one"},
        "GeoParquet has one vector a line": {"per": "patch", "to": GEOPARQUET},
        "unknown value of --per: 'pixel'": {"per": "pixel"},
        "there are no weights": {"name": "none", "folder": corpus.folder},
    }.items():
        with pytest.raises(Fatal, match=words):
            run(corpus, target, **given)  # type: ignore[arg-type]
    for words, option in {
        "unknown value of dtype: 'int9'; did you mean 'int8'": "dtype=int9",
        "unknown option of embeddings 'dtipe'; did you mean 'dtype'": "dtipe=int8",
        "chunk_rows=0 is no number of rows": "chunk_rows=0",
    }.items():
        with pytest.raises(Fatal, match=words):
            run(corpus, target, option)
    with pytest.raises(Fatal, match="no chip of .* is left"):
        EmbeddingFile(target, EMBEDDINGS).write(
            Source(str(corpus.folder / "runs" / "one")), Choice(where="split == 'test'"), Silent()
        )
    assert not list(tmp_path.iterdir())


def test_a_misspelt_format_or_run_and_a_view_of_no_raster_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    run_folder = str(corpus.folder / "runs" / "one")
    for arguments, words in (
        ((run_folder, "--to", "embedings"), "unknown format 'embedings'; did you mean 'embeddings'"),
        ((run_folder + "x", "--to", "embeddings"), f"there is nothing at {run_folder}x; check the path"),
        ((run_folder, "--to", "embeddings", "--view", "light"), "--view is for rasters, and embeddings has every view"),
        ((run_folder + "x",), f"there is nothing at {run_folder}x; check the path"),
    ):
        said = CliRunner().invoke(app, ["embed", arguments[0], str(tmp_path / "x"), *arguments[1:]]).exception
        assert isinstance(said, Fatal) and words in str(said)
    assert not list(tmp_path.iterdir())


def test_one_view_is_one_view(corpus: Corpus, tmp_path: Path) -> None:
    assert run(corpus, tmp_path / "x.zarr", name="one", rows="0") == "1 chip in 1 view (light)."


def test_a_corpus_without_the_layers_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    from tests.training.corpora import GROUND, make_corpus

    other = make_corpus(tmp_path / "other", 4, (GROUND,))
    with pytest.raises(Fatal, match="these weights need modality 'light', which the corpus lacks"):
        run(corpus, tmp_path / "x.zarr", name="one", folder=other.folder)


def test_a_layer_that_is_an_embedding_is_averaged_over_its_pixels(corpus: Corpus, tmp_path: Path) -> None:
    source = Source("layer:echo", corpus.folder)
    EmbeddingFile(tmp_path / "echo.zarr", EMBEDDINGS).write(source, Choice(), Silent())
    store = EmbeddingStore.open(tmp_path / "echo.zarr")
    stored = corpus.read("echo", slice(0, 20))
    for row, vector in enumerate(store.values("echo")):
        pixels = stored[row][:, ~np.isnan(stored[row]).any(axis=0)]
        assert store.valid_share("echo")[row] == pixels.shape[1] / 32**2
        mean = pixels.mean(axis=1) if pixels.size else np.full(2, np.nan)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), rtol=1e-5)
    assert 0 < np.isnan(store.values("echo")[:, 0]).sum() < 20
    EmbeddingFile(tmp_path / "up.parquet", GEOPARQUET).write(
        Source("layer:echo", corpus.folder, "chip", ("echo.down",)), Choice(), Silent()
    )
    lines = geopandas.read_parquet(tmp_path / "up.parquet")
    assert set(map(tuple, lines["embedding"])) == {(-1.0, 0.0)} and list(lines["channels"][0]) == ["echo.up"]
    for words, source in {
        "layer 'ground' has classes, and no embedding of pixels": Source("layer:ground", corpus.folder),
        "unknown modality 'eco'": Source("layer:eco", corpus.folder),
        "say of which with --corpus FOLDER": Source("layer:echo"),
        "has its pixels in the corpus already": Source("layer:echo", corpus.folder, "patch"),
    }.items():
        with pytest.raises(Fatal, match=words):
            EmbeddingFile(tmp_path / "x.zarr", EMBEDDINGS).write(source, Choice(), Silent())


def test_a_store_of_another_corpus_or_model_is_refused(corpus: Corpus, store: EmbeddingStore, tmp_path: Path) -> None:
    store.check_corpus(corpus)
    store.check_model(store.description.model_digest)
    other = make_sensors(tmp_path / "other", 5)
    with pytest.raises(Fatal, match="are of another corpus than .*other; embed its chips"):
        store.check_corpus(other)
    with pytest.raises(Fatal, match=r"are by other weights \(towers\); embed with these"):
        store.check_model("0" * 64)
    with pytest.raises(Fatal, match="is no store of embeddings"):
        EmbeddingStore.open(corpus.folder / "corpus.zarr")
    with pytest.raises(Fatal, match="unknown view of .* 'fuse'; did you mean 'fused'"):
        store.values("fuse")


@pytest.mark.slow
def test_several_processes_killed_in_between_make_the_same(
    corpus: Corpus, store: EmbeddingStore, tmp_path: Path
) -> None:
    """The command itself, killed without a word as soon as a part is there, then typed again."""
    target = tmp_path / "chips.zarr"
    arguments = [str(corpus.folder / "runs" / "towers"), str(target), "--to", "embeddings", "--set", "chunk_rows=4"]
    command = [*module_command("geocorpus", "embed", *arguments), "--processes", "2"]
    environment = safe_environment(OMP_NUM_THREADS="1")
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    done = begun_beside(target) / "done"
    while process.poll() is None and not any(done.glob("[0-9]*")):
        time.sleep(0.01)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if not target.exists():
        subprocess.run(command, env=environment, check=True, capture_output=True)
    made = EmbeddingStore.open(target)
    for view in store.views:
        np.testing.assert_allclose(made.values(view), store.values(view), rtol=2e-5, atol=2e-6)
    assert sorted(files_of(target)) == sorted(files_of(store.path))


def test_moments_go_by_what_the_weights_know(corpus: Corpus, tmp_path: Path) -> None:
    """Of a corpus whose layer keeps one statistic for all, as one from files does, all vectors were NaN."""
    pretrained = convnext_of(corpus, ["light"])
    (layer,) = pretrained.normalisation.layers
    other = replace(pretrained, normalisation=Normalisation((replace(layer, groups={"l9": layer.groups["l2a"]}),)))
    save_encoder(tmp_path / "other.safetensors", other)
    with pytest.raises(Fatal, match="these weights know light of level l9, and the chips in .* have .*give the corpus"):
        Source(str(tmp_path / "other.safetensors"), corpus.folder).embedder(corpus)
    plain = replace(corpus.modality("light"), statistics_by=None)
    assert pretrained.normalisation.layers_of({"light": plain})[0].modality.statistics_by == "level"
