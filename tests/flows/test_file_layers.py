"""`source.layers`: a layer of a corpus from files in place of Earth Engine holds the same, and asks for nothing."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from pyproj import Transformer

from exporters.files import static_layer
from exporters.formats.choice import Choice
from flows import exchange, stages
from flows.settings import Settings, load, parse
from flows.terminal import run
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.progress import Silent
from tests.flows.file_corpora import build, raster
from tests.flows.jobs import counters, geocorpus, reset, run_stages, sandbox

DEM = "Copernicus_DSM_COG_10_N00_00_E006_00_DEM.tif"
DEM_FILE = Path(__file__).resolve().parent / "copernicus_dem.py"


def of_files(tmp_path: Path, shared_data: Path, **sampling: Any) -> Settings:
    """A corpus of elevation alone, from the real tile of São Tomé."""
    return parse({
        "corpus": {"folder": tmp_path / "c", "size_px": 32, "shard_rows": 8, "modality_files": [DEM_FILE]},
        "source": {"kind": "files", "layers": {"copernicus_dem": f"files:{shared_data}/global/{DEM}"}},
        "files": {"time": "2021-04-01"}, "sampling": sampling,
        "split": {"cell_deg": 0.05, "buffer_m": 0},
    })  # fmt: skip


def test_sampled_places_and_a_static_file_make_a_corpus_without_earth_engine(tmp_path: Path, shared_data: Path) -> None:
    island = gpd.GeoDataFrame({"name": ["São Tomé"]}, geometry=[shapely.box(6.47, 0.02, 6.75, 0.4)], crs=4326)
    island.to_file(tmp_path / "island.gpkg")
    regions = str(tmp_path / "island.gpkg")
    corpus = build(of_files(tmp_path, shared_data, regions=regions, strategy="land", locations=12))
    assert len(corpus.manifest) == 12
    assert {chip.acquisition.date for chip in corpus.manifest} == {datetime(2021, 4, 1, tzinfo=UTC)}
    with rasterio.open(shared_data / "global" / DEM) as file:
        pixels, there = file.read(1), ~file.transform
    for chip in corpus.manifest:
        to_lonlat = Transformer.from_crs(chip.grid.crs, 4326, always_xy=True)
        left, top = chip.grid.origin_xy
        column, row = there * to_lonlat.transform(left + 165, top - 165)
        around = pixels[int(row) - 1 : int(row) + 2, int(column) - 1 : int(column) + 2]
        value = corpus.read("copernicus_dem", slice(chip.row, chip.row + 1))[0, 0, 16, 16]
        assert around.min() <= value <= around.max()


def test_points_bring_their_own_dates_or_need_one(tmp_path: Path, shared_data: Path) -> None:
    points = tmp_path / "points.csv"
    points.write_text("lon,lat,date,label\n6.6,0.2,2019-05-04,3\n6.5,0.3,,4\n")
    settings = of_files(tmp_path, shared_data, points=points, regions="")
    corpus = build(settings)
    days = {chip.own["label"]: f"{chip.acquisition.date:%Y-%m-%d}" for chip in corpus.manifest}
    assert days == {3: "2019-05-04", 4: "2021-04-01"}
    undated = settings.model_copy(update={"files": type(settings.files)()})
    shutil.rmtree(settings.folder)
    with pytest.raises(Fatal, match='has no date; give files.time = "2020-06-30" for all'):
        build(undated)


def test_points_need_no_regions_of_earth_engine(tmp_path: Path, shared_data: Path) -> None:
    (tmp_path / "points.csv").write_text("id,lon,lat\na,6.6,0.25\nb,6.65,0.2\n")
    chosen = of_files(tmp_path, shared_data, points=tmp_path / "points.csv")
    with stages.earth_engine(chosen) as engine:  # as a build has it, connected to nothing
        stages.sample(chosen, engine, Silent())
    assert chosen.sampling.regions and (chosen.folder / "locations.parquet").exists()


def on_one_scene(tmp_path: Path) -> Settings:
    """Three points on a made relief, whose file is the layer's."""
    raster(tmp_path / "relief.tif", np.arange(90_000, dtype=np.float32).reshape(1, 300, 300))
    to_lonlat = Transformer.from_crs(32631, 4326, always_xy=True)
    lonlats = [to_lonlat.transform(600_000 + east, 5_599_000) for east in (500, 1200, 2000)]
    points = tmp_path / "points.csv"
    points.write_text("lon,lat,split\n" + "".join(f"{lon},{lat},train\n" for lon, lat in lonlats))
    return parse({
        "corpus": {"folder": tmp_path / "c", "size_px": 16, "modality_files": [DEM_FILE]},
        "source": {"kind": "files", "layers": {"copernicus_dem": f"files:{tmp_path}/relief*.tif"}},
        "files": {"time": "2021-04-01"}, "sampling": {"points": points, "regions": "", "locations": 3},
        "split": {"buffer_m": 0},
    })  # fmt: skip


def of_one_scene(tmp_path: Path) -> Corpus:
    return build(on_one_scene(tmp_path))


def test_a_dry_run_of_sampled_places_says_what_the_files_would_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = on_one_scene(tmp_path)
    run.print_allocation(chosen, as_json=True)
    assert json.loads(capsys.readouterr().out)["total"] == 3 and not chosen.folder.exists()
    with stages.earth_engine(chosen) as engine:
        stages.sample(chosen, engine, Silent())
        stages.anchor(chosen, engine, Silent())
    run.dry(chosen, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("  ")[0] for line in lines] == ["chips to pull", "on disk", "Nothing was written."]
    assert lines[0].endswith(" 3")


def test_the_list_of_files_is_sealed_and_goes_with_a_subset(tmp_path: Path) -> None:
    corpus = of_one_scene(tmp_path)
    few, listed = tmp_path / "few", Path("sources/copernicus_dem.parquet")
    exchange.convert(corpus.folder, few, "corpus", Choice(rows="0:2"), (), False, Silent())
    assert (few / listed).read_bytes() == (corpus.folder / listed).read_bytes()
    goes_on = load(str(few))
    with stages.earth_engine(goes_on) as engine:
        stages.export(goes_on, engine, Silent())
    (few / listed).write_bytes(b"")
    with pytest.raises(Fatal, match="sources/copernicus_dem.parquet"):
        Corpus.open(few)


def test_a_list_that_gains_a_file_breaks_the_seal_first(tmp_path: Path) -> None:
    corpus = of_one_scene(tmp_path)
    raster(tmp_path / "relief-2.tif", np.ones((1, 9, 9), dtype=np.float32), (800_000.0, 5_600_000.0))
    chosen = load(str(corpus.folder))
    layers = static_layer.with_files(stages.layers(chosen), chosen.source.layers, corpus.folder)
    static_layer.settle(layers, ["copernicus_dem"], corpus.folder)
    assert not (corpus.folder / "seal.json").exists()
    Corpus.open(corpus.folder)


@pytest.mark.slow
@pytest.mark.xdist_group("sandbox")
def test_a_layer_from_files_is_the_layer_of_earth_engine(tmp_path: Path) -> None:
    first, second, rasters = tmp_path / "first", tmp_path / "second", tmp_path / "rasters"
    with sandbox() as url:
        ours = [
            f"source.url={url}", "corpus.size_px=16", "corpus.shard_rows=4", "sampling.locations=6",
            "corpus.modalities=['esa_worldcover', 'lat']",
        ]  # fmt: skip
        run_stages([*ours, f"corpus.folder={first}"], ("sample", "anchor"))
        shutil.copytree(first, second)
        run_stages([*ours, f"corpus.folder={first}"], ("export", "finalize"))
        outcome = geocorpus("convert", str(first), str(rasters), "--to", "geotiff", "--layer", "esa_worldcover")
        assert outcome.returncode == 0, outcome.stderr
        reset(url)
        mine = [f"corpus.folder={second}", f"source.layers.esa_worldcover=files:{rasters}/esa_worldcover/**/*.tif"]
        run_stages([*ours, *mine], ("export", "finalize"))
        assert "image:computePixels" not in counters(url)["requests"]
        back = geocorpus("export", "demo", *ours, f"corpus.folder={second}")
        assert back.returncode == 0, "nothing is left to do, whatever the source would be"
    ours_, theirs = Corpus.open(first), Corpus.open(second)
    np.testing.assert_array_equal(theirs.read("esa_worldcover", slice(0, 6)), ours_.read("esa_worldcover", slice(0, 6)))
    assert theirs.modality("esa_worldcover") == ours_.modality("esa_worldcover")
    record = pq.read_table(second / "sources" / "esa_worldcover.parquet").column("path").to_pylist()
    assert len(record) == 6 and all(path.startswith(str(rasters)) for path in record)
    assert geocorpus("verify", str(second)).returncode == 0


@pytest.mark.slow
def test_a_wrong_name_is_told_before_any_work(tmp_path: Path) -> None:
    outcome = geocorpus("sample", "demo", f"corpus.folder={tmp_path / 'c'}", "source.layers.esa_worldcove=files:a.tif")
    assert outcome.returncode == 2 and "did you mean 'esa_worldcover'" in outcome.stderr
    assert not (tmp_path / "c").exists()
