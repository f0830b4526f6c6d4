"""`geocorpus doctor --live` in words and as a picture; the dry run refuses what differs."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from exporters import catalog
from exporters.live.picture import page
from exporters.pull.preflight import Work
from flows import live_check, preflight
from flows.doctor.doctor import as_json, as_text, healthy
from flows.terminal import live_command
from pipeline.errors import Fatal
from pipeline.manifest import Manifest
from pipeline.store_url import store_at
from tests.exporters.chips import chip
from tests.exporters.conftest import engine, running_sandbox, sandbox, transports
from tests.exporters.tiny_earth import day

__all__ = ["engine", "running_sandbox", "sandbox", "transports"]
FULL = chip(day(2019, 6, 2), "l2a", day(2019, 6, 5), day(2019, 5, 30), place=9)
LAYERS = live_check.remote(catalog.modalities())


def broken(name: str):
    """The layers, of which one is interpolated on a kilometre a pixel."""
    good = next(layer for layer in LAYERS if layer.name == name)
    source = good.source

    def image(of):
        return source.image(of).setDefaultProjection("EPSG:32632", None, 1000)

    bad = replace(good, source=replace(source, image=image))
    return [bad if layer.name == name else layer for layer in LAYERS]


def test_each_layer_is_one_line_with_its_numbers(engine):
    result = live_check.run(engine, FULL, LAYERS)
    findings = result.findings()
    assert healthy(findings) and set(findings) == {"chip", *(layer.name for layer in LAYERS)}
    lines = as_text(findings).splitlines()
    assert len(lines) == len(findings) and f"{result.requests} requests" in lines[0]
    assert "% of pixels equal" in findings["sentinel1"].said and "median" in findings["sentinel1"].said
    assert (
        findings["dynamic_world"].level == "note" and "not compared: it is the mode" in findings["dynamic_world"].said
    )
    assert json.loads(as_json(findings))["checks"]["aster"]["facts"]["bands"]["elevation"]["equal"] == 1.0


def test_a_layer_that_differs_is_a_problem_that_says_what_to_do(engine):
    findings = live_check.run(engine, FULL, broken("sentinel2")).findings()
    assert not healthy(findings)
    assert [name for name, finding in findings.items() if finding.level == "problem"] == ["sentinel2"]
    assert "do not export it" in findings["sentinel2"].said and "of 13 bands" in findings["sentinel2"].said


def test_the_picture_has_a_row_for_each_layer_with_pixels(engine):
    same = page(live_check.run(engine, FULL, LAYERS).layers)
    differing = page(live_check.run(engine, FULL, broken("sentinel2")).layers)
    assert same is not None and differing is not None and same.shape == differing.shape
    assert same.shape[0] > 8 * 256

    def red(picture: np.ndarray) -> int:
        return int((picture == (200, 30, 30)).all(axis=-1).sum())

    assert red(same) == 0 and red(differing) > 10_000


def test_a_dry_run_begins_with_the_check_and_refuses_what_differs(engine, tmp_path):
    manifest = Manifest.freeze([FULL], 0)
    layers = broken("sentinel2_cloudprod")
    work = Work(manifest, {shard: layers for shard in manifest.shards(4)})
    with pytest.raises(Fatal, match=r"values of sentinel2_cloudprod are not .*stored pixels.*doctor --live"):
        preflight.dry_run(engine, work, tmp_path, store_at(str(tmp_path / "corpus.zarr")))


def test_a_layer_whose_stored_pixels_cannot_be_read_is_no_pass(engine):
    aster, worldcover = (next(layer for layer in LAYERS if layer.name == name) for name in ("aster", "esa_worldcover"))
    nowhere = [replace(origin, asset_id="users/nobody/x") for origin in aster.source.origins(FULL)]
    lost = replace(aster, source=replace(aster.source, origins=lambda of: nowhere))
    findings = live_check.run(engine, FULL, [lost, worldcover]).findings()
    assert findings["esa_worldcover"].level == "ok" and findings["aster"].level == "problem" and not healthy(findings)
    assert (
        "users/nobody/x" in findings["aster"].said
        and "nothing says whether its own are right" in findings["aster"].said
    )


def test_a_check_that_compared_nothing_is_no_pass(engine):
    year = [layer for layer in LAYERS if layer.name == "dynamic_world"]
    findings = live_check.run(engine, FULL, year).findings()
    assert not healthy(findings) and "no layer was compared" in findings["result"].said


def test_a_corpus_that_asks_nothing_of_earth_engine_is_refused(engine, tmp_path, monkeypatch):
    monkeypatch.setattr("flows.stages.earth_engine", lambda _: nullcontext(engine))
    monkeypatch.setattr(live_command, "_built_in", lambda *_: Manifest.freeze([FULL], 0))
    settings = [f"corpus.folder={tmp_path}/none", 'corpus.modalities=["lat"]']
    with pytest.raises(Fatal, match="nothing to compare"):
        live_command.examine("demo", settings, tmp_path / "live.png")


def test_the_numbers_are_told_where_the_picture_cannot_be_written(engine, tmp_path, monkeypatch):
    monkeypatch.setattr("flows.stages.earth_engine", lambda _: nullcontext(engine))
    monkeypatch.setattr(live_command, "_built_in", lambda *_: Manifest.freeze([FULL], 0))
    settings = [f"corpus.folder={tmp_path}/none", 'corpus.modalities=["aster"]']
    findings = live_command.examine("demo", settings, tmp_path / "absent" / "live.png")
    assert findings["aster"].level == "ok" and findings["picture"].level == "note"


def test_a_dry_run_says_of_layers_that_were_not_compared_that_they_were_not(engine, tmp_path):
    manifest = Manifest.freeze([FULL], 0)
    layers = [layer for layer in LAYERS if layer.name in ("esa_worldcover", "dynamic_world")]
    work = Work(manifest, {shard: layers for shard in manifest.shards(4)})
    said = preflight.dry_run(engine, work, tmp_path, store_at(str(tmp_path / "corpus.zarr")))
    assert "1 of 2 layers of one chip agree with stored pixels, 1 is not compared" in said


@pytest.mark.slow
def test_without_a_manifest_built_in_places_are_compared(tmp_path: Path):
    picture = tmp_path / "live.png"
    findings = live_command.examine("demo", [f"corpus.folder={tmp_path}/none", "corpus.size_px=48"], picture)
    assert healthy(findings), as_text(findings)
    assert Image.open(picture).size[0] > 3 * 256
    assert not (tmp_path / "none").exists()
    assert findings["chip"].facts["requests"] <= 24
