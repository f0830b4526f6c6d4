"""Against a service that refuses many aggregations in one request: nothing waits, and nothing that was paid is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from exporters import catalog
from exporters.anchor import anchoring
from exporters.anchor.anchor_rules import AnchorRules
from exporters.earth_engine.batch_size import AdaptiveBatchSize, OneTooLarge
from exporters.earth_engine.client import Connection, EarthEngine, connect
from exporters.pull.export import export
from exporters.pull.pull import REGION_ROWS, Puller
from exporters.pull.regional_means import RegionalMeans
from pipeline.errors import Transient
from pipeline.locations import Locations
from pipeline.progress import Silent
from pipeline.spool import ChipResult
from sandbox.limits import EARTH_ENGINE, KIND
from sandbox.service.faults import Fault
from sandbox.service.server import Sandbox
from tests.exporters import tiny_earth
from tests.exporters.chips import chip, location
from tests.exporters.conftest import IMPATIENT
from tests.exporters.pull.test_export import bytes_of, manifest_of, new_corpus
from tests.exporters.tiny_earth import day


@pytest.fixture(params=[EARTH_ENGINE.concurrent_aggregations, 5])
def unkind(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    limits = replace(KIND, concurrent_aggregations=request.param)
    with Sandbox(catalog=tiny_earth.standard(), limits=limits) as sandbox:
        yield sandbox


def connected(sandbox: Sandbox) -> EarthEngine:
    engine = connect(Connection("demo-project", url=sandbox.url, patience=replace(IMPATIENT, throttled_s=1.0)))
    sandbox.reset_counters()
    return engine


def test_means_are_divided_until_they_pass_and_change_no_byte(unkind: Sandbox, sandbox: Sandbox, tmp_path: Path):
    manifest, names = manifest_of(4 * REGION_ROWS), ["era5"]
    clean, layers = new_corpus(tmp_path / "clean", manifest, names, 4 * REGION_ROWS)
    export(connected(sandbox), clean, layers, tmp_path / "unused", Silent())
    corpus, layers = new_corpus(tmp_path / "unkind", manifest, names, 4 * REGION_ROWS)
    engine = connected(unkind)
    export(engine, corpus, layers, tmp_path / "spool", Silent())
    assert bytes_of(tmp_path / "unkind") == bytes_of(tmp_path / "clean")
    assert engine.figures().throttled == engine.figures().retries == 0


def test_scenes_of_a_batch_need_no_aggregation(unkind: Sandbox, tmp_path: Path):
    engine = connected(unkind)
    rules = AnchorRules(years=(2018, 2019, 2020), size_px=12)
    places = Locations.of([location(index) for index in range(60)])
    result = anchoring.anchor(engine, places, {"7": 40}, rules, tmp_path / "parts", Silent())
    assert result.rows.count == 40
    assert unkind.counters()["requests"] == {"value:compute": 3}, "none was refused, hence none divided"
    assert unkind.counters()["statuses"] == {"200": 3}


def test_means_that_fail_cost_the_chips_of_their_request_alone(sandbox: Sandbox, engine: EarthEngine):
    chips, (layer,) = [chip(day(2019, 6, 2), row=row) for row in range(REGION_ROWS + 1)], catalog.modalities(["era5"])
    sandbox.faults(Fault("memory", "value:compute", next=6))  # 16, 8, 4, 2 chips, and one chip twice
    means = RegionalMeans(Puller(engine), chips, [layer])
    for row in range(REGION_ROWS + 1):
        means.begin(row)
    assert isinstance(means.of(0), OneTooLarge)
    last = means.of(REGION_ROWS)
    assert isinstance(last, ChipResult) and "era5" in last.values
    assert means.of(REGION_ROWS + 1) is None


def test_parts_grow_with_what_a_request_may_carry(sandbox: Sandbox, engine: EarthEngine):
    chips, layers = [chip(day(2019, 6, 2), row=row) for row in range(12)], catalog.modalities(["era5"])
    puller = Puller(engine)
    puller.rows = AdaptiveBatchSize(4, 2, patience=2)
    means = RegionalMeans(puller, chips, layers)
    for row in (3, *range(12)):
        means.begin(row)
    assert sandbox.counters()["requests"] == {"value:compute": 4}, "of 2, 2, 4 and 4 chips"
    assert all(isinstance(means.of(row), ChipResult) for row in range(12))


def test_where_means_come_no_more_only_one_part_spends_its_patience(sandbox: Sandbox, engine: EarthEngine):
    chips, layers = [chip(day(2019, 6, 2), row=row) for row in range(3 * REGION_ROWS)], catalog.modalities(["era5"])
    sandbox.faults(Fault("503", "value:compute", rate=1))
    means = RegionalMeans(Puller(engine), chips, layers)
    for row in range(3 * REGION_ROWS):
        means.begin(row)
    assert sandbox.counters()["total"] == IMPATIENT.transient_attempts
    assert all(isinstance(means.of(row), Transient) for row in range(3 * REGION_ROWS))
