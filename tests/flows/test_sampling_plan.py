"""From settings to a sample: every strategy by its setting, a dry run that writes nothing, files a person can open."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import pytest
from PIL import Image
from shapely import box

from flows import sampling_plan, stages
from flows.settings import Settings, load
from flows.terminal import run
from pipeline.errors import Fatal
from pipeline.locations import Locations
from pipeline.progress import Silent
from sampling.splits import BandSplits, CellSplits


@pytest.fixture
def areas(tmp_path: Path) -> Path:
    frame = gpd.GeoDataFrame({"name": ["west", "east"], "use": ["crop", "wood"]},
                             geometry=[box(5, 40, 6.5, 41), box(20, 10, 21, 11)], crs=4326)  # fmt: skip
    frame.to_file(tmp_path / "areas.gpkg")
    return tmp_path / "areas.gpkg"


def settings(areas: Path, *more: str) -> Settings:
    folder = areas.parent / "corpus"
    return load("demo", [f"corpus.folder={folder}", f"sampling.regions={areas}", "sampling.strategy=land", *more])


def test_a_sample_is_files_that_open(areas: Path) -> None:
    chosen = settings(areas, "sampling.locations=60")
    stages.sample(chosen, None, Silent())
    table = gpd.read_parquet(chosen.folder / "locations.parquet")
    assert table.crs.to_epsg() == 4326 and set(table["split"]) <= {"train", "val", "test"}
    assert len(Locations.read(chosen.folder / "locations.parquet")) == len(table) >= 60
    assert Image.open(chosen.folder / "sample.png").width > 1000
    told = json.loads((chosen.folder / "sample.json").read_text())
    assert told["locations"] == 60 == sum(told["splits"].values())


def test_splits_are_carried_and_follow_from_the_place_where_a_table_lacks_them(areas: Path) -> None:
    chosen = settings(areas, "sampling.locations=60", "split.train=0.5", "split.val=0.3", "split.test=0.2")
    stages.sample(chosen, None, Silent())
    carried = stages._candidates(chosen)
    frame = gpd.read_parquet(chosen.folder / stages.LOCATIONS)
    assert carried.table.column("split").to_pylist() == frame["split"].tolist()
    frame.drop(columns="split").to_parquet(chosen.folder / stages.LOCATIONS)
    assert stages._candidates(chosen).table.column("split").to_pylist() == frame["split"].tolist()
    frame.assign(split="test").to_parquet(chosen.folder / stages.LOCATIONS)
    assert set(stages._candidates(chosen).table.column("split").to_pylist()) == {"test"}


def test_a_dry_run_prints_quotas_and_writes_nothing(areas: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = settings(areas, "sampling.locations=50", "sampling.strategy=column", "sampling.column=use",
                      "sampling.weights={crop=4, wood=1}")  # fmt: skip
    run.print_allocation(chosen, as_json=False)
    printed = capsys.readouterr().out
    assert "40" in printed and "50  locations in 2 strata" in printed
    run.print_allocation(chosen, as_json=True)
    assert [quota["count"] for quota in json.loads(capsys.readouterr().out)["quotas"]] == [40, 10]
    assert not chosen.folder.exists()


def test_tiles_bands_and_exclusion_by_their_settings(areas: Path) -> None:
    gpd.GeoDataFrame(geometry=[box(5.2, 40.2, 5.4, 40.4)], crs=4326).to_file(areas.parent / "evaluation.gpkg")
    chosen = settings(
        areas, "sampling.strategy=tiles", "corpus.size_px=448", "sampling.locations=100000", "split.by=bands",
        "split.train=0.6", "split.val=0.2", "split.test=0.2", "split.extent=[5, 10, 21, 41]",
        f"sampling.exclude=['{areas.parent / 'evaluation.gpkg'}']", "sampling.exclude_buffer_m=2000",
    )  # fmt: skip
    assert isinstance(sampling_plan.split_rule(chosen), BandSplits)
    result = sampling_plan.sample(chosen, sampling_plan.regions(chosen, None, Path("none")))
    assert set(result.refused) == {"too near to an excluded footprint", "in the buffer between splits"}
    assert result.allocation.total == len(result.table) > 500


def test_points_as_they_are_or_with_a_radius(areas: Path) -> None:
    points = areas.parent / "points.csv"
    points.write_text("name,lon,lat\na,10.5,50.5\nb,30.5,-5.5\n")
    as_they_are = settings(areas, f"sampling.points={points}", "sampling.strategy=biomes", "split.buffer_m=0")
    assert len(sampling_plan.sample(as_they_are, None).table) == 2
    round_them = settings(areas, f"sampling.points={points}", "sampling.radius_km=20", "sampling.locations=40")
    discs = sampling_plan.regions(round_them, None, Path("none"))
    assert discs is not None and list(discs.frame["ECO_NAME"]) == ["a", "b"]
    assert sampling_plan.sample(round_them, discs).allocation.total == 40
    assert isinstance(sampling_plan.split_rule(round_them), CellSplits)


def test_biomes_need_their_columns(areas: Path) -> None:
    with pytest.raises(Fatal, match="areas.gpkg lacks the columns ECO_NAME, BIOME_NUM"):
        chosen = settings(areas, "sampling.strategy=biomes")
        sampling_plan.regions(chosen, None, Path("none"))
    with pytest.raises(Fatal, match="sampling.strategy = 'tile' is not allowed"):
        settings(areas, "sampling.strategy=tile")
