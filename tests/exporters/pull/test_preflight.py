"""What is known before a long export."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from exporters import catalog
from exporters.earth_engine.client import Connection, connect
from exporters.pull import preflight
from exporters.pull.preflight import Work
from flows import preflight as in_words
from pipeline.errors import Fatal, Transient
from pipeline.layer_cost import read_layer_costs
from pipeline.progress import Silent
from pipeline.store_url import store_at
from sandbox.service.faults import Fault
from tests.exporters.conftest import IMPATIENT
from tests.exporters.pull.test_export import CHIPS, SHARD_ROWS, manifest_of

Usage = namedtuple("Usage", "total used free")


def work_of(names: list[str] | None = None, count: int = CHIPS) -> Work:
    manifest = manifest_of(count)
    layers = catalog.bound(catalog.modalities(names), manifest)
    return Work(manifest, {shard: layers for shard in manifest.shards(SHARD_ROWS)})


def test_every_asset_and_the_scenes_collections_are_looked_up(engine, sandbox):
    result = preflight.readable(engine, work_of())
    assert {"COPERNICUS/S2_SR_HARMONIZED", "COPERNICUS/S2_HARMONIZED", "COPERNICUS/S1_GRD"} <= set(result)
    assert "ECMWF/ERA5_LAND/MONTHLY_AGGR" in result
    assert sandbox.counters()["total"] == len(result)


def test_assets_that_cannot_be_read_are_all_named(engine):
    work = work_of(["aster", "esa_worldcover", "lat"])
    lost = [replace(layer, assets=("users/nobody/gone", "users/nobody/lost")) for layer in work.layers]
    with pytest.raises(Fatal, match="2 of .* users/nobody/gone .*users/nobody/lost") as error:
        preflight.readable(engine, Work(work.manifest, {shard: lost for shard in work.unfinished}))
    assert "\n" not in str(error.value)


def test_layers_without_requests_look_nothing_up(engine, sandbox):
    assert preflight.readable(engine, work_of(["lat", "biome"])) == []
    assert sandbox.counters()["total"] == 0


def test_the_pilot_pulls_what_the_export_would(engine, sandbox):
    work = work_of()
    tried = preflight.pilot(engine, work, 4)
    assert tried.chips == tried.pixel_requests == 4
    # One for regional means, and one for the costs of each kind.
    assert sandbox.counters()["requests"] == {"image:computePixels": 4, "value:compute": 1 + 2}
    assert tried.seconds > 0 and tried.stored_bytes > 0 and tried.received_bytes > tried.stored_bytes
    assert any(name == "sentinel2_scl" for name, _ in tried.reasons), "chips of level l1c have no classes"


def test_a_pilot_goes_on_without_a_chip_that_fails_but_not_without_any(sandbox):
    patience = replace(IMPATIENT, transient_attempts=1)
    hasty = connect(Connection("demo-project", url=sandbox.url, patience=patience))
    sandbox.faults(Fault("503", "image:computePixels", next=1))
    assert preflight.pilot(hasty, work_of(["esa_worldcover", "era5"]), 4).chips == 3
    sandbox.faults(Fault("503", "image:computePixels", rate=1.0))
    with pytest.raises(Transient, match="503"):
        preflight.pilot(hasty, work_of(["esa_worldcover"]), 4)


def test_the_estimate_scales_with_what_is_missing(engine, tmp_path):
    small, large = work_of(), work_of(count=10 * CHIPS)
    tried = preflight.pilot(engine, small, 4)
    item, ten = (preflight.estimate(engine, work, tried, tmp_path) for work in (small, large))
    assert item.chips == CHIPS and ten.chips == 10 * CHIPS
    assert item.requests == CHIPS + len(small.unfinished)
    assert ten.stored_gb == pytest.approx(10 * item.stored_gb) and ten.hours == pytest.approx(10 * item.hours, rel=0.1)
    assert ten.affordable_eecu_s()["Community"] == pytest.approx(150 * 3600 / (10 * CHIPS))


def test_a_disk_without_room_is_refused(engine, tmp_path: Path, monkeypatch):
    work = work_of(["esa_worldcover"])
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: Usage(10, 10, 0))
    estimate = preflight.estimate(engine, work, preflight.pilot(engine, work, 2), tmp_path / "not" / "there")
    with pytest.raises(Fatal, match="0.0 GB free.*make room"):
        preflight.refuse_full_disk(estimate, work, tmp_path, store_at(str(tmp_path / "corpus.zarr")))


def test_each_disk_has_to_have_room_for_its_own_part(engine, tmp_path: Path, monkeypatch):
    """A store on another disk, or in a bucket, is not looked for on the disk of the folder."""
    work, other = work_of(["esa_worldcover"]), tmp_path / "other"
    spool_gb = max(map(len, work.unfinished)) * work.raw_bytes_per_chip / 1e9
    free_gb = {tmp_path: 2 * spool_gb, other: 0.0}
    monkeypatch.setattr(preflight, "free_bytes", lambda folder: free_gb[folder] * 1e9)
    monkeypatch.setattr(preflight, "_disk_of", lambda folder: list(free_gb).index(folder))
    estimate = preflight.estimate(engine, work, preflight.pilot(engine, work, 2), tmp_path)
    preflight.refuse_full_disk(replace(estimate, stored_gb=1e6), work, tmp_path, store_at("s3://lab/corpus.zarr"))
    with pytest.raises(Fatal, match="disk of .*other has 0.0 GB free"):
        preflight.refuse_full_disk(estimate, work, tmp_path, store_at(str(other)))


class Listening(Silent):
    """Remembers sentences."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


def test_every_export_looks_up_its_assets_and_a_long_one_says_its_estimate(engine, sandbox, tmp_path, monkeypatch):
    progress, work = Listening(), work_of(["esa_worldcover"])
    in_words.before(engine, work, tmp_path, store_at(str(tmp_path)), progress)
    assert progress.said == [] and sandbox.counters()["requests"] == {"assets": len(preflight.readable(engine, work))}
    monkeypatch.setattr(in_words, "LONG_CHIPS", CHIPS)
    in_words.before(engine, work, tmp_path, store_at(str(tmp_path)), progress)
    assert f"about {CHIPS} requests" in progress.said[0]
    assert progress.said[1:] == ["The dearest layer is esa_worldcover: 100% of the EECU-time of all by themselves."]
    assert [cost.name for cost in read_layer_costs(tmp_path)] == ["esa_worldcover"], "the report says it"


def test_a_short_export_whose_asset_is_gone_asks_for_no_pixel(engine, sandbox, tmp_path):
    work = work_of(["esa_worldcover"])
    lost = Work(work.manifest, {shard: [replace(layer, assets=("users/nobody/gone",)) for layer in layers]
                                for shard, layers in work.unfinished.items()})  # fmt: skip
    with pytest.raises(Fatal, match="users/nobody/gone.*leave it out"):
        in_words.before(engine, lost, tmp_path, store_at(str(tmp_path)), Silent())
    assert set(sandbox.counters()["requests"]) == {"assets"}
