"""A corpus that was put together from others goes through the stages that have nothing to choose, and no others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from exporters.formats.choice import Choice
from exporters.formats.corpora.merger import Merger
from flows import exchange, merging, stages
from flows.settings import Settings, load
from flows.terminal.status import read_status
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.progress import Silent
from pipeline.provenance import Provenance
from tests.flows.file_corpora import build, raster, settings
from tests.flows.jobs import geocorpus
from tests.pipeline.damage import finished_corpus

LAYERS = {"image": {"files": "{kind}/*.tif", "bands": ["red", "nir"]}, "label": {"column": "kind"}}


def tiles(folder: Path, numbers: range) -> Path:
    """Places 300 km apart, in folders called by their class."""
    random = np.random.default_rng(numbers.start)
    for number in numbers:
        values = random.integers(1, 9000, (2, 16, 16)).astype(np.uint16)
        raster(folder / "ab"[number % 2] / f"p{number}.tif", values, (500_000.0, 5e6 + number * 3e5))
    return folder


def of_files(tmp_path: Path, name: str, numbers: range) -> Corpus:
    return build(settings(tmp_path / name, tiles(tmp_path / f"{name}-in", numbers), LAYERS))


def goes_on(folder: Path) -> Settings:
    """Every stage that has nothing to choose accepts it and finds nothing to do, and the others refuse it."""
    chosen = load(str(folder))
    for stage in ("export", "finalize", "pretrain", "finetune"):
        stages.check(chosen, stage)
    with stages.earth_engine(chosen) as engine:
        stages.export(chosen, engine, Silent())
    stages.finalize(chosen, Silent())
    for stage in ("sample", "build"):
        with pytest.raises(Fatal, match="come from other corpora, which provenance.json names"):
            stages.check(chosen, stage)
    status = read_status(folder)
    assert (status.finalized, status.next_step) == (True, "pretrain")
    return chosen


@pytest.mark.slow
def test_of_corpora_from_files(tmp_path):
    one, two = of_files(tmp_path, "one", range(3)), of_files(tmp_path, "two", range(3, 5))
    few = tmp_path / "few"
    exchange.convert(one.folder, few, "corpus", Choice(layers=["image"]), (), False, Silent())
    assert Provenance.read(few).brought == ("image",)
    assert goes_on(few).corpus.shard_rows == one.shard_rows
    both = tmp_path / "both"
    merging.merge([few, two.folder], both, Merger(), 0.0, False, Silent())
    assert Provenance.read(both).brought == ("image", "label")
    assert Provenance.read(both).sources[0]["provenance"]["sources"][0]["folder"] == str(one.folder)
    goes_on(both)
    corpus = Corpus.open(both)
    for chip in corpus.manifest:
        source = one if chip.own["file_image"] in one.manifest.column("file_image") else two
        row = source.manifest.column("id").tolist().index(chip.location.id)
        values = source.read("image", slice(row, row + 1))[0]
        assert np.array_equal(corpus.read("image", slice(chip.row, chip.row + 1))[0], values)


def test_the_command_merges(tmp_path):
    finished_corpus(tmp_path / "one", chips=3)
    done = geocorpus("merge", tmp_path / "one", tmp_path / "one", tmp_path / "both", "--json", "--keep-first")
    assert json.loads(done.stdout)["done"].endswith("finished and sealed. 3 repeated chips were left out.")
    assert len(Corpus.open(tmp_path / "both").manifest) == 3
