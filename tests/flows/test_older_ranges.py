"""A corpus that was laid out before bands had ranges of their own goes on under the layers of today."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from exporters import catalog
from exporters.pull.export import puller
from flows import stages
from flows.settings import Settings, load
from flows.viewer.server import application
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.manifest import Manifest
from pipeline.progress import Silent
from pipeline.verification import verify
from tests.extras import needs_torch
from tests.flows.jobs import counters, reset, sandbox

LAYERS = "corpus.modalities=['sentinel2', 'aster', 'biome']"
# Of the elevation layer as the first releases wrote it.
OLD_DIGEST = "c1cd4acf33505ad6c002c96272b54577e2ee5c7011978c4bd18fa8651038c5e4"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with sandbox() as address:
        yield address


@pytest.fixture(scope="module")
def settings(url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("old") / "corpus"
    return load("demo", [f"corpus.folder={folder}", f"source.url={url}", "corpus.size_px=32", "corpus.shard_rows=4",
                         "sampling.locations=8", "anchor.batch=10", LAYERS])  # fmt: skip


def begun_by_an_older_release(settings: Settings) -> Corpus:
    """The store as it laid it out, and the first shard as it pulled it."""
    with stages.earth_engine(settings) as engine:
        for name in ("sample", "anchor"):
            getattr(stages, name)(settings, engine, Silent())
        manifest = Manifest.read(settings.folder / MANIFEST)
        layers = [layer.without_ranges_of_bands() for layer in stages.layers_of(settings, manifest)]
        corpus = Corpus.create(settings.folder, layers, 4, settings.corpus.store, manifest)
        pull = puller(engine, corpus, layers, settings.folder / "spool", Silent())
        pull(corpus.shards[0], [layer.name for layer in layers])
    return corpus


@needs_torch
def test_every_stage_goes_on(url: str, settings: Settings) -> None:
    corpus = begun_by_an_older_release(settings)
    (today,) = catalog.modalities(["aster"])
    assert corpus.modality("aster").digest == OLD_DIGEST != today.digest
    metadata = (settings.folder / "corpus.zarr/aster/zarr.json").read_bytes()
    assert json.loads(metadata)["attributes"]["geocorpus"]["bands"][1] == {
        "name": "slope", "units": "degree", "long_name": "",
    }  # fmt: skip
    reset(url)
    stages.check(settings, "export")
    with stages.earth_engine(settings) as engine:
        stages.dry_run(settings, engine)
        reset(url)
        stages.export(settings, engine, Silent())
    assert counters(url)["requests"]["image:computePixels"] == 4, "the second shard alone"
    stages.finalize(settings, Silent())
    assert (settings.folder / "corpus.zarr/aster/zarr.json").read_bytes() == metadata
    finished = Corpus.open(settings.folder)
    assert finished.modality("aster").ranges == ((-500, 9000),) * 2 and not finished.missing()
    assert "elevation histogram" in (settings.folder / "report.html").read_text()
    client = TestClient(application(finished), base_url="http://127.0.0.1:1")
    assert client.get("/data/chips/0/chip.bin").is_success
    train = load(
        str(settings.folder),
        ["pretrain.steps=2", "pretrain.image_px=16", "pretrain.hide_outside=true", "pretrain.batch_size=4"],
    )
    said = stages.pretrain(train, Silent())
    assert "2 steps" in said and max(len(line) for line in said.splitlines()[1:]) <= 80, "a narrow terminal"
    assert not verify(settings.folder, Silent()).faults
