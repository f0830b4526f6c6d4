"""From a manifest to a store: what is written, what is asked, and what a crash costs."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporters import catalog
from exporters.anchor import anchoring
from exporters.anchor.anchor_rules import AnchorRules
from exporters.earth_engine.client import Connection, connect
from exporters.pull.export import Incomplete, export, export_shard
from exporters.pull.pull import Puller
from exporters.pull.turn_gate import TurnGate
from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.dead_letters import DeadLetters
from pipeline.errors import Fatal, Transient
from pipeline.locations import Locations
from pipeline.manifest import Manifest
from pipeline.progress import Silent, Tracker
from pipeline.spool import ChipResult, Spool
from sandbox.service.faults import Fault
from tests.exporters.chips import chip, location
from tests.exporters.conftest import IMPATIENT
from tests.exporters.tiny_earth import day

SHARD_ROWS = 5
CHIPS = 12
FEW = ["sentinel2", "sentinel2_scl", "sentinel1", "era5", "eco_region"]  # one of every kind


def manifest_of(count: int = CHIPS) -> Manifest:
    """Half of the chips l2a with radar, half l1c without."""
    full = [chip(day(2019, 6, 2), "l2a", day(2019, 6, 5), place=index) for index in range(0, count, 2)]
    bare = [chip(day(2018, 3, 11), "l1c", place=index) for index in range(1, count, 2)]
    return Manifest.freeze(full + bare, 0)


def new_corpus(
    folder: Path, manifest: Manifest, names: Sequence[str] | None = FEW, shard_rows: int = SHARD_ROWS
) -> tuple[Corpus, list]:
    layers = catalog.bound(catalog.modalities(names), manifest)
    manifest.write(folder / MANIFEST)
    return Corpus.create(folder, layers, shard_rows), layers


def breaking_after(chips: int) -> tuple[Fault, Fault]:
    """Pixels of so many chips come, then none (the first rule that strikes is the only one)."""
    return Fault("slow", "image:computePixels", next=chips, seconds=0.0), Fault("503", "image:computePixels", rate=1)


def bytes_of(folder: Path) -> dict[str, str]:
    """Digests of everything in the store and the ledger."""
    files = [path for part in ("corpus.zarr", "ledger") for path in (folder / part).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_everything_is_written_with_one_request_a_chip(engine, sandbox, tmp_path):
    corpus, layers = new_corpus(tmp_path, manifest_of(), None)
    before = engine.figures().requests
    reports = export(engine, corpus, layers, tmp_path / "spool", Silent())
    assert not corpus.missing()
    requests = sandbox.counters()["requests"]
    assert requests == {"image:computePixels": CHIPS, "value:compute": len(corpus.shards)}
    assert engine.figures().requests - before == sandbox.counters()["total"], "both sides count alike"
    assert [report.shard for report in reports] == list(corpus.shards)
    assert not list((tmp_path / "spool").rglob("*.chip"))


def test_requests_per_chip_are_counted_from_the_first(engine, tmp_path):
    corpus, layers = new_corpus(tmp_path, manifest_of(), None)
    tracker = Tracker()
    export(engine, corpus, layers, tmp_path / "spool", tracker)
    assert (tracker.snapshot().requests_per_unit or 0) > 1, "a request for each chip's pixels, and some for means"


@pytest.mark.parametrize(
    "foreign", [np.full((13, 12, 12), 70000.7), np.full((1,), 7, np.uint16), np.full((12, 12), 7, np.uint16)]
)
def test_spooled_values_of_another_shape_or_dtype_are_pulled_again(engine, tmp_path, foreign):
    manifest, spool = manifest_of(2), tmp_path / "spool"
    clean, layers = new_corpus(tmp_path / "clean", manifest, ["sentinel2"])
    export(engine, clean, layers, spool, Silent())
    corpus, layers = new_corpus(tmp_path / "other", manifest, ["sentinel2"])
    name = f"sentinel2@{layers[0].digest[:16]}"
    Spool(spool / manifest.digest[:16]).put(corpus.shards[0], 0, ChipResult({name: foreign}))
    export(engine, corpus, layers, spool, Silent())
    assert bytes_of(tmp_path / "other") == bytes_of(tmp_path / "clean")


def test_every_row_without_data_has_its_reason(engine, tmp_path):
    corpus, layers = new_corpus(tmp_path, manifest_of(), None)
    export(engine, corpus, layers, tmp_path / "spool", Silent())
    for layer in layers:
        values = corpus.read(layer.name, slice(0, CHIPS))
        reasons = {row: reason for entry in corpus.entries(layer.name) for row, reason in entry.missing.items()}
        empty = {row for row in range(CHIPS) if not layer.valid(values[row]).any()}
        assert set(reasons) == empty
        assert all(reasons.values())
    l1c = {row for row in range(CHIPS) if corpus.manifest[row].acquisition.level == "l1c"}
    missing = {row for entry in corpus.entries("sentinel2_scl") for row in entry.missing}
    assert missing == l1c


def test_nothing_is_asked_when_nothing_is_missing(engine, sandbox, tmp_path):
    corpus, layers = new_corpus(tmp_path, manifest_of())
    export(engine, corpus, layers, tmp_path / "spool", Silent())
    sandbox.reset_counters()
    assert export(engine, corpus, layers, tmp_path / "spool", Silent()) == []
    assert sandbox.counters()["total"] == 0


def test_a_layer_added_later_costs_one_request_a_chip_and_touches_no_other(engine, sandbox, tmp_path):
    corpus, first = new_corpus(tmp_path, manifest_of(), ["sentinel2", "lat"])
    export(engine, corpus, first, tmp_path / "spool", Silent())
    before = bytes_of(tmp_path)
    corpus, layers = new_corpus(tmp_path, manifest_of(), ["sentinel2", "lat", "esa_worldcover", "aster"])
    sandbox.reset_counters()
    export(engine, corpus, layers, tmp_path / "spool", Silent())
    assert sandbox.counters()["requests"] == {"image:computePixels": CHIPS}
    after = bytes_of(tmp_path)
    assert all(after[path] == digest for path, digest in before.items() if "sentinel2" in path)


def test_a_crash_costs_no_chip_twice_and_leaves_no_trace(sandbox, engine, tmp_path):
    whole, layers = new_corpus(tmp_path / "whole", manifest_of())
    export(engine, whole, layers, tmp_path / "whole" / "spool", Silent())
    broken, _ = new_corpus(tmp_path / "broken", manifest_of())
    patience = replace(IMPATIENT, transient_attempts=1)
    hasty = connect(Connection("demo-project", url=sandbox.url, patience=patience, concurrency=2))
    sandbox.reset_counters()
    sandbox.faults(*breaking_after(SHARD_ROWS + 2))
    with pytest.raises(Transient, match="location .* could not be pulled.*same command"):
        export(hasty, broken, layers, tmp_path / "broken" / "spool", Silent())
    paid = sandbox.counters()["statuses_by_endpoint"]["image:computePixels"]["200"]
    assert paid == SHARD_ROWS + 2
    sandbox.faults()
    sandbox.reset_counters()
    reports = export(engine, broken, layers, tmp_path / "broken" / "spool", Silent())
    assert sandbox.counters()["requests"]["image:computePixels"] == CHIPS - paid
    assert sum(report.from_spool for report in reports) == 2, "one shard was whole, of the next there were two"
    assert bytes_of(tmp_path / "broken") == bytes_of(tmp_path / "whole")


def hasty_engine(sandbox):
    return connect(Connection("demo-project", url=sandbox.url, patience=replace(IMPATIENT, transient_attempts=1)))


def test_chips_that_fail_for_good_stop_no_other_and_are_listed(sandbox, engine, tmp_path):
    whole, layers = new_corpus(tmp_path / "whole", manifest_of())
    export(engine, whole, layers, tmp_path / "whole" / "spool", Silent())
    corpus, _ = new_corpus(tmp_path / "broken", manifest_of())
    spool = tmp_path / "broken" / "spool"
    sandbox.faults(Fault("503", "image:computePixels", next=2))
    with pytest.raises(Incomplete, match="location .* could not be pulled.*nor could 1 others.*geocorpus retry"):
        export(hasty_engine(sandbox), corpus, layers, spool, Silent())
    assert list(corpus.missing()) == [corpus.shards[0]], "the other shards are finished"
    letters = DeadLetters(tmp_path / "broken" / "failed").read()
    assert len(letters) == 2 and {letter.error for letter in letters} == {"Transient"}
    assert all("503" in letter.reason and letter.location == corpus.manifest[letter.row].location.id
               for letter in letters)  # fmt: skip
    assert all(set(letter.layers) == set(FEW) for letter in letters)
    sandbox.reset_counters()
    export(engine, corpus, layers, spool, Silent())
    assert sandbox.counters()["requests"]["image:computePixels"] == 2
    assert not (tmp_path / "broken" / "failed").exists()
    assert bytes_of(tmp_path / "broken") == bytes_of(tmp_path / "whole")


def test_a_chip_that_is_too_large_alone_is_its_own_failure(sandbox, engine, tmp_path):
    corpus, layers = new_corpus(tmp_path, manifest_of(1), ["esa_worldcover"])
    slow = connect(Connection("demo-project", url=sandbox.url, patience=IMPATIENT, concurrency=1))
    sandbox.faults(Fault("memory", "image:computePixels", next=2))
    with pytest.raises(Incomplete, match="memory"):
        export(slow, corpus, layers, tmp_path / "spool", Silent())
    (letter,) = DeadLetters(tmp_path / "failed").read()
    assert letter.error == "OneTooLarge"
    assert len(corpus.missing()) == 1
    export(engine, corpus, layers, tmp_path / "spool", Silent())
    assert not corpus.missing()


def test_a_chip_refused_in_unknown_words_is_its_own_failure(sandbox, engine, tmp_path):
    corpus, layers = new_corpus(tmp_path, manifest_of(6), ["esa_worldcover"], shard_rows=1)
    slow = connect(Connection("demo-project", url=sandbox.url, patience=IMPATIENT, concurrency=1))
    sandbox.faults(Fault("unknown", "image:computePixels", next=2))
    with pytest.raises(Incomplete, match="nobody has seen before: 42"):
        export(slow, corpus, layers, tmp_path / "spool", Silent())
    (letter,) = DeadLetters(tmp_path / "failed").read()
    assert letter.error == "OneRefused"
    sandbox.reset_counters()
    export(engine, corpus, layers, tmp_path / "spool", Silent())
    assert not corpus.missing() and sandbox.counters()["total"] == 1


def test_unknown_words_for_every_chip_stop_the_run(sandbox, tmp_path):
    corpus, layers = new_corpus(tmp_path, manifest_of(60), ["esa_worldcover"], shard_rows=60)
    engine = connect(Connection("demo-project", url=sandbox.url, patience=IMPATIENT, concurrency=4))
    sandbox.reset_counters()
    sandbox.faults(Fault("unknown", "image:computePixels", rate=1))
    with pytest.raises(Fatal, match=r"\d+ chips were refused.*nobody has seen before: 42"):
        export(engine, corpus, layers, tmp_path / "spool", Silent())
    assert sandbox.counters()["total"] < 40


def test_unknown_words_for_one_layer_leave_the_others_written(sandbox, tmp_path):
    corpus, layers = new_corpus(tmp_path, manifest_of(4), ["esa_worldcover", "era5"], shard_rows=4)
    engine = connect(Connection("demo-project", url=sandbox.url, patience=IMPATIENT, concurrency=1))
    sandbox.faults(Fault("unknown", "value:compute", rate=1))
    with pytest.raises(Incomplete, match="nobody has seen before: 42"):
        export(engine, corpus, layers, tmp_path / "spool", Silent())
    assert {letter.layers for letter in DeadLetters(tmp_path / "failed").read()} == {("era5",)}
    assert not corpus.missing(["esa_worldcover"])


def test_regional_means_that_fail_leave_the_pixels_written(sandbox, engine, tmp_path):
    corpus, layers = new_corpus(tmp_path, manifest_of())
    sandbox.faults(Fault("503", "value:compute", next=1))
    with pytest.raises(Incomplete):
        export(hasty_engine(sandbox), corpus, layers, tmp_path / "spool", Silent())
    assert {letter.layers for letter in DeadLetters(tmp_path / "failed").read()} == {("era5",)}
    assert not corpus.missing([name for name in FEW if name != "era5"]), "all else is in the store"
    assert len(corpus.missing()) == 1
    sandbox.faults()
    sandbox.reset_counters()
    export(engine, corpus, layers, tmp_path / "spool", Silent())
    assert sandbox.counters()["requests"] == {"value:compute": 1}
    assert not list((tmp_path / "spool").rglob("*.chip"))


def test_what_the_spool_has_of_chips_that_fail_is_written(sandbox, engine, tmp_path):
    manifest, names = manifest_of(4), ["esa_worldcover", "aster"]
    clean, layers = new_corpus(tmp_path / "clean", manifest, names)
    export(engine, clean, layers, tmp_path / "unused", Silent())
    values, spool = clean.read(names[0], slice(0, 4)), Spool(tmp_path / "spool" / manifest.digest[:16])
    for row in range(4):
        spool.put(clean.shards[0], row, ChipResult({f"{names[0]}@{layers[0].digest[:16]}": values[row]}))
    corpus, _ = new_corpus(tmp_path / "broken", manifest, names)
    sandbox.faults(Fault("503", "image:computePixels", rate=1))
    with pytest.raises(Incomplete):
        export(hasty_engine(sandbox), corpus, layers, tmp_path / "spool", Silent())
    assert not corpus.missing(names[:1]) and corpus.missing(names[1:])
    assert np.array_equal(corpus.read(names[0], slice(0, 4)), values)


# Not "missing": an asset that is not there is for a person to mend, and says so.
EVERY_WAY = ("429", "500", "503", "memory", "timeout", "slow", "truncated", "reset", "restricted")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_failures_of_every_kind_change_no_byte(sandbox, engine, tmp_path, seed):
    manifest = manifest_of(40)
    whole, layers = new_corpus(tmp_path / "whole", manifest, shard_rows=10)
    export(engine, whole, layers, tmp_path / "whole" / "spool", Silent())
    broken, _ = new_corpus(tmp_path / "broken", manifest, shard_rows=10)
    sandbox.faults(*[Fault(kind, rate=0.02 if kind != "429" else 0.005, seconds=0.05) for kind in EVERY_WAY], seed=seed)
    for _ in range(10):
        with contextlib.suppress(Transient):
            export(engine, broken, layers, tmp_path / "broken" / "spool", Silent())
            break
    assert sum(sandbox.counters()["faults"].values()) >= 5
    assert bytes_of(tmp_path / "broken") == bytes_of(tmp_path / "whole")


def test_when_nothing_comes_any_more_the_run_stops(sandbox, tmp_path):
    corpus, layers = new_corpus(tmp_path, manifest_of(60), ["esa_worldcover"], shard_rows=60)
    patience = replace(IMPATIENT, transient_attempts=1)
    engine = connect(Connection("demo-project", url=sandbox.url, patience=patience, concurrency=4))
    sandbox.reset_counters()
    sandbox.faults(Fault("503", "image:computePixels", rate=1))
    with pytest.raises(Transient, match="20 chips in a row.*503"):
        export(engine, corpus, layers, tmp_path / "spool", Silent())
    assert sandbox.counters()["total"] < 40


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize("suffix", [".chip", "", ".json"])
def test_a_full_disk_stops_all_requests_at_once(sandbox, engine, tmp_path, monkeypatch, number, suffix):
    """Whichever file is the first that has no room: of a chip, of a shard, of the ledger. The same command goes on."""
    manifest, written, write = manifest_of(40), itertools.count(), durable._write_all
    clean, layers = new_corpus(tmp_path / "clean", manifest, shard_rows=20)
    export(engine, clean, layers, tmp_path / "clean" / "spool", Silent())
    corpus, layers = new_corpus(tmp_path / "c", manifest, shard_rows=20)

    def without_room(path, parts):
        name = path.name.removeprefix(".").rsplit(".", 2)[0]
        if Path(name).suffix == suffix and next(written) >= 3:
            path.write_bytes(b"half")
            raise OSError(number, os.strerror(number), str(path))
        write(path, parts)

    def hasty():
        return connect(Connection("demo-project", url=sandbox.url, concurrency=4, patience=IMPATIENT))

    sandbox.set_latency(0.05)
    run = hasty()
    sandbox.reset_counters()
    with monkeypatch.context() as patched, pytest.raises(Fatal, match=f"cannot write .*: {os.strerror(number)}; check"):
        patched.setattr(durable, "_write_all", without_room)
        export(run, corpus, layers, tmp_path / "c" / "spool", Silent(), shards_at_once=2)
    asked = sandbox.counters()["requests"]["image:computePixels"]
    assert asked <= 3 + 2 * 4 or suffix != ".chip", "in flight, or answered while the first was written"
    assert not list(tmp_path.rglob("*.tmp"))
    kept = len(list((tmp_path / "c" / "spool").rglob("*.chip")))
    run = hasty()
    sandbox.reset_counters()
    export(run, corpus, layers, tmp_path / "c" / "spool", Silent())
    assert sandbox.counters()["requests"].get("image:computePixels", 0) == 40 - kept
    assert bytes_of(tmp_path / "c") == bytes_of(tmp_path / "clean")


def test_chips_of_layers_that_are_not_wanted_now_stay_paid_for(sandbox, engine, tmp_path):
    corpus, layers = new_corpus(tmp_path, manifest_of(), ["aster", "esa_worldcover"])
    first, second = ([layer for layer in layers if layer.name == name] for name in ("aster", "esa_worldcover"))
    sandbox.faults(Fault("503", "image:computePixels", next=1))
    with pytest.raises(Incomplete):
        export(hasty_engine(sandbox), corpus, first, tmp_path / "spool", Silent())
    export(engine, corpus, second, tmp_path / "spool", Silent())
    sandbox.reset_counters()
    export(engine, corpus, first, tmp_path / "spool", Silent())
    assert sandbox.counters()["requests"] == {"image:computePixels": 1}


def test_what_the_spool_lacks_is_all_that_is_asked(engine, sandbox, tmp_path):
    names = [*FEW, "aster", "lat"]
    corpus, layers = new_corpus(tmp_path, manifest_of(), names)
    first = [layer for layer in layers if layer.name in ("aster", "lat")]
    hasty = connect(Connection("demo-project", url=sandbox.url, patience=replace(IMPATIENT, transient_attempts=1)))
    sandbox.faults(*breaking_after(3))
    with pytest.raises(Transient):
        export(hasty, corpus, first, tmp_path / "spool", Silent())
    sandbox.faults()
    kept = list((tmp_path / "spool").rglob("*.chip"))
    assert kept
    export(engine, corpus, layers, tmp_path / "spool", Silent())
    untouched, _ = new_corpus(tmp_path / "untouched", manifest_of(), names)
    export(engine, untouched, layers, tmp_path / "untouched" / "spool", Silent())
    assert bytes_of(tmp_path) == bytes_of(tmp_path / "untouched")


def test_chips_of_another_manifest_or_specification_are_not_taken(engine, sandbox, tmp_path):
    hasty = connect(Connection("demo-project", url=sandbox.url, patience=replace(IMPATIENT, transient_attempts=1)))
    old, layers = new_corpus(tmp_path / "old", manifest_of(), ["aster"])
    (aster,) = layers
    doubled = replace(aster, source=replace(aster.source, then=lambda image: image.multiply(2)))
    sandbox.faults(*breaking_after(3))
    with pytest.raises(Transient):
        export(hasty, old, [doubled], tmp_path / "spool", Silent())
    sandbox.faults()
    assert list((tmp_path / "spool").rglob("*.chip"))
    fresh, _ = new_corpus(tmp_path / "fresh", manifest_of(CHIPS - 2), ["aster"])
    export(engine, fresh, [aster], tmp_path / "spool", Silent())
    clean, _ = new_corpus(tmp_path / "clean", manifest_of(CHIPS - 2), ["aster"])
    export(engine, clean, [aster], tmp_path / "unused", Silent())
    assert bytes_of(tmp_path / "fresh") == bytes_of(tmp_path / "clean")
    titled = replace(aster, title="Another")
    manifest_of().write(tmp_path / "other" / MANIFEST)
    other = Corpus.create(tmp_path / "other", [titled], SHARD_ROWS)
    reports = export(engine, other, [titled], tmp_path / "spool", Silent())
    assert sum(report.from_spool for report in reports) == 0


def test_threads_and_shards_at_once_do_not_change_a_byte(engine, sandbox, tmp_path):
    item, layers = new_corpus(tmp_path / "one", manifest_of())
    export(engine, item, layers, tmp_path / "one" / "spool", Silent())
    slow = connect(Connection("demo-project", url=sandbox.url, patience=IMPATIENT, concurrency=1))
    other, _ = new_corpus(tmp_path / "other", manifest_of())
    export(slow, other, layers, tmp_path / "other" / "spool", Silent(), shards_at_once=3)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "other")


def test_one_shard_can_be_done_alone(engine, tmp_path):
    corpus, layers = new_corpus(tmp_path, manifest_of())
    report = export_shard(
        Puller(engine), corpus, corpus.shards[1], layers, Spool(tmp_path / "spool"), Silent(), TurnGate()
    )
    assert report.pulled == SHARD_ROWS and set(report.names) == {layer.name for layer in layers}
    assert corpus.shards[1] not in corpus.missing()
    assert len(corpus.missing()) == len(corpus.shards) - 1


@pytest.mark.slow
def test_a_corpus_of_500_costs_little_more_than_a_request_a_location(sandbox, tmp_path):
    engine = connect(Connection("demo-project", url=sandbox.url))
    places = [location(index) for index in range(1500)]
    rules = AnchorRules(years=(2018, 2019, 2020), size_px=12)
    result = anchoring.anchor(engine, Locations.of(places), {"7": 500}, rules, tmp_path / "parts", Silent())
    corpus, layers = new_corpus(tmp_path, Manifest.freeze_rows(result.rows, 0), ["esa_worldcover", "era5"], 128)
    export(engine, corpus, layers, tmp_path / "spool", Silent())
    assert len(corpus.manifest) == 500
    # Means begin with 16 chips a request; how soon they grow depends on which shard's answers come first.
    pixels, scenes, means, connecting_and_costs = 500, 8, 4 * 8, 10
    assert engine.figures().requests <= pixels + scenes + means + connecting_and_costs
    assert engine.figures().retries == 0
