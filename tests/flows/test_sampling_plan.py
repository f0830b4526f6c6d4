"""From settings to a sample: every strategy by its setting, a dry run that writes nothing, files a person can open."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
from PIL import Image
from shapely import box

from flows import sampling_plan, stages
from flows.growth import last_step, refuse_changes
from flows.settings import Settings, load
from flows.terminal import run
from pipeline.corpus_folder import LOCATIONS
from pipeline.errors import Fatal
from pipeline.locations import Locations
from pipeline.progress import Silent
from sampling.splits import BandSplits, CellSplits
from tests.sampling.region_tables import REAL


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
    carried = stages._candidates(last_step(chosen.folder), chosen)
    frame = gpd.read_parquet(chosen.folder / LOCATIONS)
    assert carried.table.column("split").to_pylist() == frame["split"].tolist()
    frame.drop(columns="split").to_parquet(chosen.folder / LOCATIONS)
    assert (
        stages._candidates(last_step(chosen.folder), chosen).table.column("split").to_pylist()
        == frame["split"].tolist()
    )
    frame.assign(split="test").to_parquet(chosen.folder / LOCATIONS)
    assert set(stages._candidates(last_step(chosen.folder), chosen).table.column("split").to_pylist()) == {"test"}


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


class Told(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, text: str) -> None:
        self.sentences.append(text)


def test_a_table_of_plots_keeps_its_columns_and_lists_who_is_left_out(areas: Path) -> None:
    plots = areas.parent / "plots.csv"
    plots.write_text("id,lat,lon,crop\np1,40.5,5.5,tea\np2,40.5,5.5027,maize\np3,40.5,6,tea\n")
    chosen, told = settings(areas, f"sampling.points={plots}", "sampling.regions=", "split.buffer_m=0"), Told()
    stages.sample(chosen, None, told)
    table = gpd.read_parquet(chosen.folder / "locations.parquet")
    assert table[["own_id", "crop"]].values.tolist() == [["p1", "tea"], ["p3", "tea"]]
    assert pd.read_csv(chosen.folder / "dropped.csv")[["own_id", "keep_with"]].values.tolist() == [
        ["p2", "sampling.overlap=allow"]
    ]
    said = " ".join(told.sentences)
    assert told.sentences[-1].startswith("Splits of the places: 2 ")
    assert "1 of your 3 points left out" in said and "dropped.csv lists them" in said and "replaced" not in said
    everyone = settings(areas, f"sampling.points={plots}", "split.buffer_m=0", "sampling.overlap=allow")
    assert len(sampling_plan.sample(everyone, None).table) == 3


def test_overlap_is_also_known_by_its_older_name(areas: Path) -> None:
    older = settings(areas, "sampling.may_overlap=true")
    assert older.sampling.overlap == "allow" and "sampling.may_overlap" not in older.deciding()
    assert settings(areas, "sampling.may_overlap=false").sampling.overlap == "refuse"
    with pytest.raises(Fatal, match="overlap and may_overlap, its older name, say different things"):
        settings(areas, "sampling.may_overlap=true", "sampling.overlap=refuse")
    older.save()
    saved = older.folder / "config.toml"
    saved.write_text(saved.read_text().replace('overlap = "allow"', "may_overlap = true"))
    refuse_changes(settings(areas, "sampling.overlap=allow"))
    with pytest.raises(Fatal, match="begun with sampling.overlap = 'allow', not 'refuse'"):
        refuse_changes(settings(areas))


def test_biomes_need_their_columns(areas: Path) -> None:
    with pytest.raises(Fatal, match="areas.gpkg lacks the columns ECO_NAME, BIOME_NUM"):
        chosen = settings(areas, "sampling.strategy=biomes")
        sampling_plan.regions(chosen, None, Path("none"))
    with pytest.raises(Fatal, match="sampling.strategy = 'tile' is not allowed"):
        settings(areas, "sampling.strategy=tile")


@pytest.mark.skipif(not REAL.exists(), reason="the real ecoregions are not here")
def test_the_example_of_the_documentation_runs_on_the_real_regions(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/sampling.md").read_text()
    typed = (
        page[page.index("    geocorpus sample demo corpus.folder=out/realms") :].split("\n\n")[0].replace("\\\n", " ")
    )
    overrides = [each for each in shlex.split(typed)[3:] if not each.startswith("sampling.regions")]
    chosen = load("demo", [*overrides, f"sampling.regions={REAL}", f"corpus.folder={tmp_path / 'out'}"])
    quotas = sampling_plan.allocation(chosen, sampling_plan.regions(chosen, None, Path("none"))).quotas
    assert sum(quota.count for quota in quotas) == chosen.sampling.locations
