"""What each layer costs by itself, and what an export saves without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporters import catalog
from exporters.pull import preflight
from exporters.pull.layer_costs import MOST_LAYERS, layer_costs, saving_of
from exporters.pull.preflight import Work
from exporters.sources import Local
from flows import preflight as in_words
from pipeline.store_url import store_at
from sandbox.service.faults import Fault
from tests.exporters.pull.test_export import CHIPS, SHARD_ROWS, manifest_of


def work_of(names: list[str] | None = None) -> Work:
    manifest = manifest_of(CHIPS)
    layers = catalog.bound(catalog.modalities(names), manifest)
    return Work(manifest, {shard: layers for shard in manifest.shards(SHARD_ROWS)})


def test_every_layer_of_the_service_is_measured_with_a_request_each(engine, sandbox):
    work = work_of()
    costs = layer_costs(engine, work)
    remote = {layer.name for layer in work.layers if not isinstance(layer.source, Local)}
    assert {cost.name for cost in costs} == remote, "also those that only some chips have"
    requests = sandbox.counters()["requests"]
    assert requests["image:computePixels"] == len(remote) - 1 <= MOST_LAYERS
    assert requests["value:compute"] == 1 + len(remote), "the regional means, and a profile of each"
    assert sum(cost.share for cost in costs) == pytest.approx(1)
    assert [cost.share for cost in costs] == sorted((cost.share for cost in costs), reverse=True)
    by_name = {cost.name: cost for cost in costs}
    assert all(cost.eecu_s > 0 and cost.seconds > 0 and cost.received_bytes > 0 for cost in costs)
    assert by_name["sentinel2"].received_bytes > 5 * by_name["esa_worldcover"].received_bytes


def test_no_more_layers_are_asked_for_than_a_pilot_may(engine, sandbox, monkeypatch):
    monkeypatch.setattr("exporters.pull.layer_costs.MOST_LAYERS", 2)
    assert len(layer_costs(engine, work_of())) == 2
    assert sandbox.counters()["requests"]["image:computePixels"] == 2


def test_a_layer_that_fails_is_left_out(engine, sandbox):
    sandbox.faults(Fault("memory", "image:computePixels", next=3))  # both bands of the first, and one of them twice
    assert [cost.name for cost in layer_costs(engine, work_of(["aster", "esa_worldcover"]))] == ["esa_worldcover"]


def test_what_is_saved_is_the_share_of_the_estimate(engine, tmp_path: Path):
    work = work_of(["esa_worldcover", "sentinel2"])
    estimate = preflight.estimate(engine, work, preflight.pilot(engine, work, 4), tmp_path)
    savings = [saving_of(cost, estimate) for cost in layer_costs(engine, work)]
    assert sum(saving.saves_eecu_h for saving in savings) == pytest.approx(estimate.eecu_h)
    assert sum(saving.saves_received_gb for saving in savings) == pytest.approx(estimate.received_gb, rel=0.3)
    assert sum(saving.saves_stored_gb for saving in savings) == pytest.approx(estimate.stored_gb, rel=0.5)


def test_a_dry_run_says_what_each_layer_costs(engine, tmp_path: Path):
    lines = in_words.dry_run(engine, work_of(["esa_worldcover", "lat"]), tmp_path, store_at(str(tmp_path))).splitlines()
    (line,) = [line for line in lines if line.startswith("  esa_worldcover")]
    assert "EECU-s" in line and "(100%)" in line and "kB stored" in line
