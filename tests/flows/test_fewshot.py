"""`geocorpus fewshot`: encoders side by side from one command, its files, and what it refuses."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from rasterio import Affine
from typer.testing import CliRunner

from tests.extras import NO_TORCH

pytest.importorskip("torch", reason=NO_TORCH)

from flows.fewshot.compare import Results, few_shot
from flows.fewshot.competitor import side_by_side
from flows.fewshot.competitors import Field
from flows.fewshot.encoders import loaded
from flows.fewshot.features import Kept
from flows.fewshot.outputs import write
from flows.fewshot.plan import Named, Plan
from flows.fewshot.tables import headline
from flows.fewshot.target import Target
from flows.terminal.cli import app
from pipeline.chip import Chip
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.manifest import Manifest
from pipeline.progress import Silent
from tests.pipeline.chips import make_chip
from tests.training.conftest import one_thread  # noqa: F401 (a fixture that every test here uses)
from tests.training.corpora import ECHO, GROUND, LIGHT, WEATHER, make_corpus
from tests.training.embedded import convnext_of, tower_of
from training.data.centre import read_centre
from training.evaluate.embedder import Embedder
from training.evaluate.fewshot.places import Places
from training.weights.weights import save_encoder

COUNT, SHARD = 120, 32
SENSORS = ("light", "echo")
ROWS = np.arange(COUNT)


def manifest_of(folder: Path, count: int, size_px: int) -> Manifest:
    """A third of the chips in test; strata are halves of the world."""
    manifest = Manifest.freeze([_chip(number, size_px) for number in range(count)], 0)
    manifest.write(folder / "manifest.parquet")
    return manifest


def _chip(number: int, size_px: int) -> Chip:
    chip = make_chip(number, size_px, "test" if number % 3 == 0 else "train")
    half = "east" if chip.location.lon > 0 else "west"
    return replace(chip, location=replace(chip.location, stratum=half))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("few")
    return make_corpus(folder, COUNT, (LIGHT, ECHO, GROUND, WEATHER), SHARD, manifest_of=manifest_of)


@pytest.fixture(scope="module")
def run(corpus: Corpus) -> Path:
    """The towers of a run, untrained; and an encoder of the other kind beside them."""
    folder = corpus.folder / "runs" / "mine"
    for name in SENSORS:
        save_encoder(folder / f"encoder-{name}.safetensors", tower_of(corpus, name))
    save_encoder(corpus.folder / "other.safetensors", convnext_of(corpus, ["light"]))
    return folder


@pytest.fixture(scope="module")
def plan(corpus: Corpus, run: Path) -> Plan:
    return Plan(
        corpus.folder, (Named.of(str(run)), Named.of(f"other={corpus.folder / 'other.safetensors'}")),
        (Target.of("wood=ground:Wood+Water"), Target.of("ground")),
        alone=str(run / "encoder-light.safetensors"),
        without=("sensors", "light.red"), regions="stratum", shots=(10, 30), draws=2, resamples=100,
        families=("nearest",),
    )  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def results(plan: Plan, out: Path) -> Results:
    found = few_shot(plan, out, Silent())
    write(found, out)
    return found


def test_everything_that_is_always_there_is_compared_on_the_same_draws(results: Results, out: Path) -> None:
    assert [item.encoder for item in results.whole] == [
        "mine", "other", "one sensor alone", "random weights", "band statistics"
    ]  # fmt: skip
    scores = pd.read_parquet(out / "scores.parquet")
    mine = scores[scores.encoder == "mine"]
    left = {"without light", "without echo", "without light.red"}
    views = {f"{whole} {each}" for whole in ("fused", "side by side") for each in left}
    assert set(mine.view) == {"fused", "light", "echo", "side by side", *views}
    bands = scores[scores.encoder == "band statistics"]
    assert set(bands.view) == {"all bands", "light", "echo", *(f"all bands {each}" for each in left)}
    assert set(scores[scores.task == "wood"].measure) == {"R2", "RMSE"}
    assert set(scores[scores.task == "ground"].measure) == {"balanced accuracy", "macro-F1"}
    assert set(scores.labels) >= {10, 30}
    first = scores[(scores.encoder == "mine") & (scores["view"] == "side by side")]
    assert (first.over_first_mean == 0).all()
    pd.testing.assert_frame_equal(pd.read_csv(out / "scores.csv"), scores, check_exact=False)


def test_sensors_side_by_side_and_bands_that_are_left(plan: Plan, corpus: Corpus, out: Path, results: Results) -> None:
    """The features of these views, put together by hand."""
    rows = results.rows
    encoders = loaded(plan)
    field = Field(corpus, rows, 24, Kept(out / "more"), Silent())
    seen = {(item.encoder, item.view): item.features for item in field.competitors(plan, encoders)}
    vectors = Embedder.of(encoders[0].pretrained).embed(corpus, rows)
    np.testing.assert_array_equal(seen["mine", "side by side"], np.hstack([vectors["echo"], vectors["light"]]))
    np.testing.assert_array_equal(seen["mine", "side by side without light"], vectors["echo"])
    every = seen["band statistics", "all bands"]
    light, red = seen["band statistics", "light"], corpus.modality("light").band_names.index("red")
    bands, first = light.shape[1] // 2, every.shape[1] - light.shape[1]
    np.testing.assert_array_equal(seen["band statistics", "all bands without echo"], light)
    np.testing.assert_array_equal(
        seen["band statistics", "all bands without light.red"],
        np.delete(every, [first + red, first + bands + red], axis=1),
    )


def test_sensors_that_see_no_row_leave_no_vectors() -> None:
    vectors = {name: np.full((3, 2), np.nan, np.float32) for name in ("light", "echo", "fused")}
    assert np.isnan(side_by_side(vectors)).all() and side_by_side(vectors).shape == (3, 4)
    vectors["echo"][1] = 5
    np.testing.assert_array_equal(side_by_side(vectors), vectors["echo"])


def test_draws_are_kept_as_manifest_rows(results: Results, corpus: Corpus, out: Path) -> None:
    draws = pd.read_parquet(out / "draws.parquet")
    train = set(corpus.manifest.rows_of("train").tolist())
    assert set(draws.task) == {"wood", "ground"}
    for item in draws.itertuples():
        assert len(item.rows) == item.labels
        assert set(item.rows.tolist()) <= train


def test_another_look_is_the_same_and_computes_no_features(
    results: Results, plan: Plan, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("features are computed again")

    monkeypatch.setattr("training.evaluate.embedder.Embedder.embed_each", refuse)
    monkeypatch.setattr("training.evaluate.embedding.features_of", refuse)
    again = few_shot(plan, out, Silent())
    assert repr([item.comparison for item in again.outcomes]) == repr([item.comparison for item in results.outcomes])


def test_shares_are_those_of_the_pixels(corpus: Corpus) -> None:
    task = Target.of("ground:Wood+Water").task(corpus, ROWS, 24)
    stored = read_centre(corpus, "ground", ROWS, 24).reshape(COUNT, -1)
    expected = np.isin(stored, [10, 20]).sum(axis=1) / (stored != 255).sum(axis=1)
    np.testing.assert_allclose(task.values, expected)
    heat = Target.of("heat=weather:heat").task(corpus, ROWS, 24)
    np.testing.assert_allclose(heat.values, 280 + ROWS % 7, rtol=1e-6)


def test_a_raster_in_another_crs_lies_under_the_chips(corpus: Corpus, tmp_path: Path) -> None:
    """Half of the world is 1, in degrees, while chips are in UTM; where the file has no data there is no label."""
    values = np.zeros((180, 360), np.float32)
    values[:, 180:] = 1
    values[:90] = -9
    path = tmp_path / "east.tif"
    with rasterio.open(path, "w", driver="GTiff", width=360, height=180, count=1, dtype="float32", crs="EPSG:4326",
                       transform=Affine(1, 0, -180, 0, -1, 90), nodata=-9) as file:  # fmt: skip
        file.write(values, 1)
    task = Target.of(f"east={path}").task(corpus, ROWS, 24)
    lon, lat = (corpus.manifest.column(name) for name in ("lon", "lat"))
    inside = (np.abs(lat) > 1.5) & (np.abs(lon) > 1.5)
    south = inside & (lat < 0)
    np.testing.assert_allclose(task.values[south], lon[south] > 0)
    assert np.isnan(task.values[inside & (lat > 0)]).all()


def test_a_raster_that_says_not_where_it_lies(corpus: Corpus, tmp_path: Path) -> None:
    path = tmp_path / "nowhere.tif"
    with rasterio.open(path, "w", driver="GTiff", width=4, height=4, count=1, dtype="uint8") as file:
        file.write(np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(Fatal, match="has no CRS; give it one"):
        Target.of(str(path)).task(corpus, ROWS, 24)
    with pytest.raises(Fatal, match="there is no raster at"):
        Target.of(str(tmp_path / "absent.tif")).task(corpus, ROWS, 24)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("grund", "unknown target 'grund'; did you mean 'ground'"),
        ("ground:Wod", "unknown class of ground: 'Wod'; did you mean 'Wood'"),
        ("light", "light has 3 bands; say which as light:red"),
        ("light:rad", "unknown band of light: 'rad'; did you mean 'red'"),
        ("=ground", "is no target"),
    ],
)
def test_targets_that_there_are_not(corpus: Corpus, text: str, sentence: str) -> None:
    with pytest.raises(Fatal, match=re.escape(sentence)):
        Target.of(text).task(corpus, ROWS, 24)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"regions": "strata"}, "unknown column of regions 'strata'; did you mean 'stratum'"),
        ({"regions": "realm"}, "column 'realm' has 0 different values"),
        ({"without": ("light,echo",)}, "nothing is left to look at"),
        ({"without": ("lihgt",)}, "unknown sensor to leave out 'lihgt'; did you mean 'light'"),
        ({"shots": (1, 10)}, "1 labels are fewer than the"),
        ({"most_chips": 0}, "has no train chips"),
    ],
)
def test_what_cannot_be_compared(
    results: Results, plan: Plan, out: Path, change: dict[str, object], sentence: str
) -> None:
    with pytest.raises(Fatal, match=re.escape(sentence)):
        few_shot(replace(plan, targets=(Target.of("ground"),), **change), out, Silent())  # type: ignore[arg-type]


def test_labels_that_are_too_few_are_refused_before_an_encoder_looks(
    results: Results, plan: Plan, tmp_path: Path
) -> None:
    with pytest.raises(Fatal, match="1 labels are fewer than the"):
        few_shot(replace(plan, targets=(Target.of("ground"),), shots=(1, 10)), tmp_path / "out", Silent())
    assert not (tmp_path / "out").exists()


def test_plans_that_make_no_sense(plan: Plan) -> None:
    for change, sentence in (
        ({"encoders": ()}, "there is no encoder to look at"),
        ({"targets": ()}, "there is nothing to tell"),
        ({"families": ("trees",)}, "unknown family of models 'trees'"),
        ({"encoders": (Named("a", "x"), Named("a", "y"))}, "two encoders are called 'a'"),
        ({"targets": (Target.of("a:b"), Target.of("a b=ground"))}, "two target files are called 'a_b'"),
    ):
        with pytest.raises(Fatal, match=sentence):
            replace(plan, **change)


def test_an_encoder_of_layers_that_the_corpus_has_not(plan: Plan, run: Path, tmp_path: Path) -> None:
    make_corpus(tmp_path, 30, (GROUND,), 8)
    other = replace(plan, corpus=tmp_path, targets=(Target.of("ground"),), regions=None, without=())
    with pytest.raises(Fatal, match="these weights need modality .echo., which the corpus lacks"):
        few_shot(other, tmp_path / "out", Silent())


def test_the_folder_of_a_corpus_is_no_place_for_tables(plan: Plan) -> None:
    with pytest.raises(Fatal, match="is the folder of a corpus; give --out a folder of its own"):
        few_shot(plan, plan.corpus, Silent())


def test_the_page_needs_nothing_else(results: Results, out: Path) -> None:
    page = (out / "fewshot.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 2
    assert "<script" not in page and "http:" not in page and "https:" not in page
    assert "labels for 95 %" in page and "From region to region" in page and "Within east" in page
    assert (out / "wood.png").stat().st_size > 5000
    assert (out / "wood.svg").read_text().startswith("<svg")


def test_embeddings_of_a_store_are_compared_as_the_encoder_that_made_them(
    plan: Plan, results: Results, corpus: Corpus, out: Path, tmp_path: Path
) -> None:
    target = tmp_path / "kept.zarr"
    done = CliRunner().invoke(app, ["embed", plan.encoders[0].source, str(target), "--to", "embeddings"])
    assert done.exit_code == 0, done.output
    both = replace(plan, encoders=(plan.encoders[0], Named.of(str(target))), without=(), alone=None, regions=None)
    scores = few_shot(both, out, Silent()).outcomes[0].comparison.scores
    fused = [item for item in scores if item.seen.view == "fused"]
    mine, kept = ([item.estimate for item in fused if item.seen.encoder == name] for name in ("mine", "kept"))
    assert len(mine) == len(kept) > 0
    np.testing.assert_allclose([item.mean for item in mine], [item.mean for item in kept])
    with pytest.raises(Fatal, match="holds embeddings, and the first encoder must be weights"):
        replace(plan, encoders=(Named.of(str(target)),))


def test_a_target_without_spread_says_so(results: Results) -> None:
    flat = replace(results.outcomes[0], task=replace(results.outcomes[0].task, values=np.zeros(len(results.rows))))
    assert "All of these test chips have the value 0, so there is no R2." in headline(results, flat).text()


def test_few_test_chips_are_said(results: Results) -> None:
    outcome = results.outcomes[0]
    places = Places(outcome.places.train, outcome.places.test[:6], np.arange(6) // 2)
    text = headline(results, replace(outcome, places=places)).text()
    assert "Only 6 test chips in 3 blocks: below 30 chips or 10 blocks intervals mean little." in text
    many = Places(outcome.places.train, np.arange(30), np.arange(30) // 3)
    assert not many.few and replace(many, blocks=np.arange(30) // 4).few and replace(many, test=np.arange(29)).few


def test_the_command_prints_the_table(plan: Plan, corpus: Corpus, run: Path, out: Path, tmp_path: Path) -> None:
    asked = ["fewshot", str(corpus.folder), "--encoder", str(run), "--target", "wood=ground:Wood", "--out",
             str(tmp_path / "out"), "--shots", "10", "--draws", "2", "--heads", "linear"]  # fmt: skip
    done = CliRunner().invoke(app, [*asked, "--json"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout.splitlines()[-1])
    assert Path(facts["page"]).exists() and "random weights" in facts["done"]
    regions = tmp_path / "out" / "regions.csv"
    assert not regions.exists()
