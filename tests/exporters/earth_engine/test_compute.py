"""What requests cost: profiles of some scaled up to all, months counted over runs, a budget that stops."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import ee
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.earth_engine import compute
from exporters.earth_engine.client import Connection, EarthEngine, connect
from exporters.earth_engine.compute import Profiler, Usage, eecu_s_of, kind_of
from exporters.pull import preflight
from exporters.pull.export import export
from pipeline import durable
from pipeline.errors import Fatal
from pipeline.progress import Silent
from sandbox.service.faults import Fault
from sandbox.service.server import Sandbox
from tests.exporters.conftest import IMPATIENT
from tests.exporters.pull.test_export import manifest_of, new_corpus
from tests.exporters.pull.test_preflight import Listening, work_of

PIXELS = "https://x/v1/projects/p/image:computePixels?alt=media"
LAYERS = ["esa_worldcover", "aster"]
VALUES = "https://x/v1/projects/p/value:compute"
# As https://geetools.readthedocs.io/en/latest/usage/profile.html shows one of the live service, and one with gaps.
SEEN = """ EECU·s PeakMem Count  Description
  0.332     59k     6  Algorithm Image.reduceRegions
  0.232    566k    85  Loading assets: projects/google/charts_feature_example
  0.171    378k   827  (plumbing)
      -    617k    86  no description available
"""


def test_a_profile_of_the_live_service_is_read():
    assert eecu_s_of(SEEN) == pytest.approx(0.735)
    with pytest.raises(ValueError, match="no table"):
        eecu_s_of("<html>busy</html>")


@given(st.lists(st.sampled_from([PIXELS, VALUES]), max_size=200), st.integers(1, 20), st.floats(0.01, 10))
def test_some_requests_stand_for_all_of_their_kind(uris, every, eecu_s):
    profiler = Profiler(every)
    asked = {PIXELS: 0, VALUES: 0}
    for index, uri in enumerate(uris):
        sent = profiler.headers(uri, {"a": "b"})
        assert sent["a"] == "b"
        asked[uri] += compute.ASK_HEADER in sent
        profiler.answered(uri, {compute.PROFILE_HEADER: str(index)} if compute.ASK_HEADER in sent else {})
    while taken := profiler.take(least=1):
        profiler.measured(taken[0], len(taken[1]), eecu_s * len(taken[1]))
    assert all(asked[uri] == -(-uris.count(uri) // every) for uri in asked)
    assert profiler.eecu_s == pytest.approx(eecu_s * len(uris))


def test_only_computations_are_profiled():
    assert kind_of(PIXELS) == "image:computePixels" and kind_of(VALUES) == "value:compute"
    assert kind_of("https://x/v1/projects/earthengine-public/assets/a") is None
    assert compute.ASK_HEADER not in Profiler(0).headers(PIXELS, None)


@pytest.fixture
def telling(sandbox: Sandbox, tmp_path: Path) -> EarthEngine:
    """A connection of which every third request tells its cost."""
    connection = Connection("demo-project", url=sandbox.url, patience=IMPATIENT, profile_every=3)
    engine = connect(connection)
    sandbox.reset_counters()
    return engine


def test_the_pilot_tells_what_the_clients_own_profiler_tells(telling, sandbox, tmp_path):
    work = work_of(LAYERS)
    tried = preflight.pilot(telling, work, work.chips)
    assert tried.eecu_s is not None and tried.eecu_s > 0
    estimate = preflight.estimate(telling, work, tried, tmp_path)
    assert estimate.eecu_h == pytest.approx(tried.eecu_s / 3600)
    assert estimate.months()["Community"] == pytest.approx(estimate.eecu_h / 150)
    assert telling.figures().eecu_s == pytest.approx(tried.eecu_s)
    # Threads of the pilot are no threads of the client's profiler: one chip, asked for by this one.
    chip, _ = work.sample(1)[0]
    out = io.StringIO()
    with ee.profilePrinting(destination=out):
        preflight.Puller(telling).pixels(chip, work.layers)
    assert eecu_s_of(out.getvalue()) == pytest.approx(tried.eecu_s / work.chips, rel=0.1)


def test_the_run_estimates_its_cost_from_a_few_profiles(telling, sandbox, tmp_path):
    corpus, layers = new_corpus(tmp_path, manifest_of(), LAYERS)
    every = connect(replace(telling.connection, profile_every=1))
    export(every, corpus, layers, tmp_path / "spool", Silent())
    corpus, layers = new_corpus(tmp_path / "again", manifest_of(), LAYERS)
    few = connect(telling.connection)
    with few.counting(Usage(tmp_path / "usage.json")):
        export(few, corpus, layers, tmp_path / "again" / "spool", Silent())
    assert few.figures().eecu_s == pytest.approx(every.figures().eecu_s, rel=0.1) and few.figures().eecu_s > 0
    month = f"{datetime.now(UTC):%Y-%m}"
    assert durable.read_json(tmp_path / "usage.json")[month] == pytest.approx(few.figures().eecu_s, rel=0.01)


def test_a_service_that_tells_nothing_is_asked_once_and_said(telling, sandbox):
    sandbox.faults(Fault("missing", "value:compute", rate=1.0))
    progress, work = Listening(), work_of(["esa_worldcover"])
    tried = preflight.pilot(telling, work, 4)
    assert tried.chips == 4 and tried.eecu_s is None
    telling.tell(progress)
    telling.tell(progress)
    assert len(progress.said) == 1 and "no EECU estimate" in progress.said[0]
    assert sandbox.counters()["requests"]["value:compute"] == 1


def test_a_profile_that_is_lost_on_its_way_costs_no_chip(telling, sandbox):
    sandbox.faults(Fault("503", "value:compute", next=1))
    assert preflight.pilot(telling, work_of(["esa_worldcover"]), 4).chips == 4


def test_the_month_is_counted_over_runs_and_its_budget_stops(telling, sandbox, tmp_path):
    path = tmp_path / "usage.json"
    durable.write_json(path, {"2001-01": 9e9})
    for _ in range(2):
        usage = Usage(path, 1.0)
        usage.begin(500.0)
        usage.up_to(500.0 + 1500.0)
        usage.refuse_overspending()
        usage.save()
    usage = Usage(path, 1.0)
    usage.up_to(700.0)
    with pytest.raises(Fatal, match=r"1\.03 EECU-hours.*source.eecu_hours allows 1; raise it"):
        usage.refuse_overspending()
    assert durable.read_json(path)["2001-01"] == 9e9


def test_an_export_stops_at_its_budget_and_what_it_paid_for_stays(telling, sandbox, tmp_path):
    corpus, layers = new_corpus(tmp_path, manifest_of(), LAYERS)
    path = tmp_path / "usage.json"
    with pytest.raises(Fatal, match="source.eecu_hours allows"):
        with telling.counting(Usage(path, 1e-7)):
            export(telling, corpus, layers, tmp_path / "spool", Silent())
    paid = sandbox.counters()["requests"]["image:computePixels"]
    with pytest.raises(Fatal), telling.counting(Usage(path, 1e-7)):
        pass
    with telling.counting(Usage(path, 1.0)):
        export(telling, corpus, layers, tmp_path / "spool", Silent())
    assert sandbox.counters()["requests"]["image:computePixels"] == len(corpus.manifest) > paid > 0
    assert all(np.isfinite(corpus.read("aster", slice(0, 1))).ravel())


def test_a_damaged_count_is_named(tmp_path):
    (tmp_path / "usage.json").write_text("{")
    with pytest.raises(Fatal, match="usage.json"):
        Usage(tmp_path / "usage.json")
