"""The export of a corpus that has grown: only new places are asked for, and a short shard is filled up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from exporters import catalog
from exporters.pull.export import export
from pipeline import manifest as manifests
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.errors import Transient
from pipeline.manifest import Manifest
from pipeline.progress import Silent
from pipeline.rows import GatheredRows, Source
from sandbox.service.faults import Fault
from tests.exporters.chips import chip
from tests.exporters.pull.test_export import CHIPS, FEW, SHARD_ROWS, bytes_of, hasty_engine, manifest_of, new_corpus
from tests.exporters.tiny_earth import day

MORE = 6  # 12 chips in shards of 5: the last had 2; with 18 it is full, and one more has 3


def extended(manifest: Manifest) -> Manifest:
    chips = [chip(day(2019, 6, 2), "l2a", place=index) for index in range(CHIPS, CHIPS + MORE)]
    table = pa.concat_tables(list(manifests._tables(chips))).combine_chunks()
    return manifest.extended(GatheredRows([Source(table, np.arange(MORE))], manifests.SCHEMA), 0)


def grow(folder: Path) -> tuple[Corpus, list]:
    extended(Manifest.read(folder / MANIFEST)).write(folder / MANIFEST)
    layers = catalog.bound(catalog.modalities(FEW), Manifest.read(folder / MANIFEST))
    return Corpus.create(folder, layers, SHARD_ROWS), layers


def test_only_new_chips_are_asked_for_and_all_are_as_if_pulled_at_once(engine, sandbox, tmp_path):
    first, layers = new_corpus(tmp_path / "grown", manifest_of())
    export(engine, first, layers, tmp_path / "grown" / "spool", Silent())
    before = bytes_of(tmp_path / "grown")
    corpus, layers = grow(tmp_path / "grown")
    sandbox.reset_counters()
    reports = export(engine, corpus, layers, tmp_path / "grown" / "spool", Silent())
    assert sandbox.counters()["requests"]["image:computePixels"] == MORE
    assert [(report.shard.index, report.pulled, report.from_spool) for report in reports] == [(2, 3, 2), (3, 3, 0)]
    after = bytes_of(tmp_path / "grown")
    kept = [f"ledger/{name}/0000{index}.json" for name in FEW for index in (0, 1)]
    kept += [
        path
        for path in before
        for name in FEW
        if path.startswith((f"corpus.zarr/{name}/c/0", f"corpus.zarr/{name}/c/1"))
    ]
    assert len(kept) > 15 and all(after[path] == before[path] for path in kept)
    whole, layers = new_corpus(tmp_path / "whole", extended(manifest_of()))
    export(engine, whole, layers, tmp_path / "whole" / "spool", Silent())
    fresh = bytes_of(tmp_path / "whole")
    assert {path: digest for path, digest in after.items() if "corpus.zarr" in path} == {
        path: digest for path, digest in fresh.items() if "corpus.zarr" in path
    }
    assert [path for path in after if after[path] != fresh[path]] == [
        path for path in after if path.endswith(("00000.json", "00001.json"))
    ], "the marks of kept shards name the manifest that they were written for"
    assert not list((tmp_path / "grown" / "spool").rglob("*.chip"))
    reasons = {row for entry in corpus.entries("sentinel2_scl") for row in entry.missing}
    assert reasons == {row for row in range(len(corpus.manifest)) if corpus.manifest[row].acquisition.level == "l1c"}


def test_a_crash_while_it_grows_costs_no_chip_twice(engine, sandbox, tmp_path):
    for name in ("whole", "broken"):
        corpus, layers = new_corpus(tmp_path / name, manifest_of())
        export(engine, corpus, layers, tmp_path / name / "spool", Silent())
    whole, layers = grow(tmp_path / "whole")
    export(engine, whole, layers, tmp_path / "whole" / "spool", Silent())
    broken, layers = grow(tmp_path / "broken")
    sandbox.reset_counters()
    sandbox.faults(
        Fault("slow", "image:computePixels", next=2, seconds=0.0), Fault("503", "image:computePixels", rate=1)
    )
    with pytest.raises(Transient):
        export(hasty_engine(sandbox), broken, layers, tmp_path / "broken" / "spool", Silent())
    sandbox.faults()
    sandbox.reset_counters()
    export(engine, broken, layers, tmp_path / "broken" / "spool", Silent())
    assert sandbox.counters()["requests"]["image:computePixels"] == MORE - 2
    assert bytes_of(tmp_path / "broken") == bytes_of(tmp_path / "whole")


def test_only_some_layers_of_a_grown_corpus(engine, sandbox, tmp_path):
    corpus, layers = new_corpus(tmp_path, manifest_of())
    export(engine, corpus, layers, tmp_path / "spool", Silent())
    corpus, layers = grow(tmp_path)
    one = [layer for layer in layers if layer.name == "sentinel2"]
    export(engine, corpus, one, tmp_path / "spool", Silent())
    assert {names for names in corpus.missing().values()} == {tuple(sorted(set(FEW) - {"sentinel2"}))}
    sandbox.reset_counters()
    export(engine, corpus, layers, tmp_path / "spool", Silent())
    assert sandbox.counters()["requests"]["image:computePixels"] == MORE
    assert not Corpus.open(tmp_path).missing()
