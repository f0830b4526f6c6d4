"""The second system by its commands: the shipped corpus, and the demo, which goes on where it was killed."""

from __future__ import annotations

import re
import time
from itertools import permutations
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest

from flows import sampling_plan
from flows.settings import Settings, load, parse, shipped
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.grid import Grid, utm_crs
from pipeline.nearest_pair import smallest_distance_m
from pipeline.radius_index import chord_m, pairs_within
from sampling.area_bands import AreaBandSplits
from sampling.sample import Sample
from tests.flows.jobs import geocorpus, sandbox, start
from training.config import PretrainConfig

SENSORS = ["sentinel2_seasonal_rgb", "sentinel1_seasonal_amplitude", "gssic_coherence"]
CONFIGURATIONS = ("sensors", "demo-sensors")


def sampled(settings: Settings) -> Sample:
    return sampling_plan.sample(settings, sampling_plan.regions(settings, None, Path("none")))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_shipped_configuration_names_the_three_sensors_and_the_labels(name: str) -> None:
    settings = load(name)
    assert list(settings.corpus.modalities) == [
        *SENSORS, "esa_worldcover", "modis_tree_cover", "ghsl_built_up", "dynamic_world",
    ]  # fmt: skip
    assert parse(settings.model_dump(mode="json")).deciding() == settings.deciding()
    pretrain = PretrainConfig.from_dict(settings.pretrain)
    assert pretrain.method == "contrastive" and list(pretrain.inputs) == SENSORS
    assert pretrain.image_px <= settings.corpus.size_px


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_area_lies_in_its_own_extent(name: str) -> None:
    settings = load(name)
    regions = sampling_plan.regions(settings, None, Path("none"))
    assert regions is not None and len(regions) == 5
    for outline, area in zip(regions.frame.geometry, settings.split.areas, strict=True):
        west, south, east, north = area.extent
        assert west <= outline.bounds[0] and south <= outline.bounds[1]
        assert east >= outline.bounds[2] and north >= outline.bounds[3]


def test_the_areas_are_a_tenth_of_the_land() -> None:
    regions = sampling_plan.regions(load("sensors"), None, Path("none"))
    assert regions is not None and 0.09 < regions.frame["area_km2"].sum() / 148.94e6 < 0.11


@pytest.mark.slow
def test_tiles_of_448_px_in_own_zones_without_overlap_and_splits_apart() -> None:
    settings = load("sensors", ["sampling.locations=3000", "sampling.overdraw=1"])
    assert isinstance(sampling_plan.split_rule(settings), AreaBandSplits)
    table = sampled(settings).table
    lonlat, side_m = table[["lon", "lat"]].to_numpy(), 4480.0
    for place in lonlat[:50].tolist():
        grid = Grid.around(tuple(place), utm_crs(tuple(place)), 448)
        assert np.all(np.mod(grid.origin_xy, side_m) == 0), "corners are multiples of the side in the tile's own zone"
    first, second = pairs_within(lonlat, side_m)
    assert not len(first) or chord_m(lonlat[first], lonlat[second]).min() > 0.998 * side_m
    split = table["split"].astype(str).to_numpy()
    shares = [np.mean(split == name) for name in ("train", "val", "test")]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.07)
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        apart_m = smallest_distance_m(lonlat[split == one], lonlat[split == other])
        assert apart_m >= 5000 + side_m, "5 km between the sides"


def test_a_few_small_tiles_of_the_five_areas_need_no_list_of_all() -> None:
    table = sampled(load("sensors", ["sampling.locations=10", "corpus.size_px=64"])).table
    assert table["stratum"].nunique() == 5 and len(table) < 100


def test_a_shipped_file_of_regions_is_called_by_name(tmp_path: Path) -> None:
    known = sampling_plan.regions(load("demo", ["sampling.regions=shipped:sensors.geojson", "sampling.strategy=tiles"]),
                                  None, tmp_path)  # fmt: skip
    assert known is not None and list(known.frame["ECO_NAME"])[0] == "conus"
    wrong = load("demo", ["sampling.regions=shipped:sensor.geojson", "sampling.strategy=tiles"])
    with pytest.raises(Fatal, match="did you mean 'shipped:sensors.geojson'"):
        sampling_plan.regions(wrong, None, tmp_path)


def test_areas_without_bands_are_refused() -> None:
    area = {"extent": [0, 0, 1, 1]}
    with pytest.raises(Fatal, match='areas have bands; set by = "bands" as well'):
        parse({"split": {"areas": [area]}})
    assert parse({"split": {"by": "bands", "areas": [area]}}).split.areas[0].angle_rad == 0.9


def test_the_files_that_the_configurations_name_are_shipped() -> None:
    for name in CONFIGURATIONS:
        regions = gpd.read_file(shipped()[name].with_suffix(".geojson"))
        assert regions.crs.to_epsg() == 4326 and regions.is_valid.all() and regions["name"].is_unique


@pytest.mark.slow
def test_the_demo_of_sensors_goes_on_where_it_was_killed_and_says_what_was_found(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    with sandbox() as url:
        ours = ("sensors", f"corpus.folder={folder}", f"source.url={url}", "sampling.locations=25",
                "pretrain.steps=6", "pretrain.batch_size=8", "pretrain.checkpoint_every=1")  # fmt: skip
        process = start("demo", *ours)
        while not list(folder.glob("runs/*/checkpoints/*")) and process.poll() is None:
            time.sleep(0.05)
        process.kill()
        process.communicate()
        begun = Corpus.open(folder).manifest.digest
        outcome = geocorpus("demo", *ours)
    assert outcome.returncode == 0, outcome.stderr
    assert len(Corpus.open(folder).manifest) == 25 and Corpus.open(folder).manifest.digest == begun
    said = outcome.stdout
    assert "A corpus of 25 tiles" in said and "6 steps, encoder in" in said
    assert "how often the nearest view by another sensor is that of the same" in said and "Next:" in said
    for one, other in permutations(SENSORS, 2):
        assert re.search(rf"^  {one} to {other} +[0-9.]+ % \([0-9.]+ to [0-9.]+\)$", said, re.MULTILINE)
    assert {path.stem for path in (folder / "runs" / "sensors_small").glob("*.safetensors")} == {
        f"encoder-{name}" for name in SENSORS
    }
    results = tmp_path / "corpus-results"
    assert set(gpd.read_parquet(results / "embeddings.parquet")["view"]) == {*SENSORS, "fused"}
    told = ("vegetation", "built-up", "cropland", "water")
    assert all(f"\n{name}: " in said for name in told)
    assert (results / "fewshot" / "fewshot.html").stat().st_size > 10_000
    assert all(
        (results / "fewshot" / f"{name}.png").exists() for name in ("vegetation", "built-up", "cropland", "water")
    )


@pytest.mark.slow
def test_a_trial_of_the_shipped_corpus_on_the_sandbox(tmp_path: Path) -> None:
    """As a new user types it."""
    folder = tmp_path / "trial"
    outcome = geocorpus("build", "sensors", "source.project=sandbox", f"corpus.folder={folder}",
                        "sampling.locations=10", "corpus.size_px=64")  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr
    corpus = Corpus.open(folder)
    assert len(corpus.manifest) == 10 and not corpus.missing() and set(SENSORS) < set(corpus.modalities)
    assert load(str(folder)).pretrain["preset"] == "sensors"
