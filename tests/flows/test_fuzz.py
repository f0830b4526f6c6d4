"""Single bits flipped all over a finished corpus: each is named, or harmless, and none is trained on.

Sixty in the suite; GEOCORPUS_FLIPS=500 flips so many.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from exporters.report import facts
from flows import stages
from flows.settings import load, parse
from flows.terminal.status import read_status
from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.corpus_folder import place_of
from pipeline.errors import GeocorpusError
from pipeline.location import Location, write_location_table
from pipeline.locations import Locations
from pipeline.progress import Silent
from pipeline.verification import verify
from sampling.allocation import read_allocation
from tests.extras import NO_TORCH

pytest.importorskip("torch", reason=NO_TORCH)

from tests.training.corpora import CONFIG, SIZE_PX, make_corpus
from training.pretrain.resolved_run import resolve_run

FLIPS = int(os.environ.get("GEOCORPUS_FLIPS", "60"))
SEED = int(os.environ.get("GEOCORPUS_FLIPS_SEED", "0"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with its store named in `store.json`, and the files of all stages."""
    folder = tmp_path_factory.mktemp("fuzz") / "corpus"
    corpus = make_corpus(folder, count=12, shard_rows=6, store_url=str(folder / "arrays.zarr"))
    table = Locations.of([Location(f"p{n}", float(n), 2.0, "s") for n in range(20)]).table
    write_location_table(folder / stages.LOCATIONS, table.to_pandas())
    quota = {"stratum": "s", "count": 12}
    durable.write_json(folder / stages.ALLOCATION, {"total": 12, "quotas": [quota]})
    parse({"corpus": {"folder": str(folder), "shard_rows": 6, "size_px": SIZE_PX}}).save()
    corpus.finalize()
    return folder


def results(folder: Path) -> str:
    """A digest of what people get from a corpus: the trainer's batches, statistics, and the figures of the report."""
    corpus = Corpus.open(folder)
    digest = hashlib.sha256()
    run = resolve_run(corpus, CONFIG)
    with closing(run.loader.batches(0, 3)) as batches:
        for tensor in (tensor for batch in batches for tensor in batch.tensors()):
            digest.update(tensor.numpy().tobytes())
    digest.update(repr(run.identity).encode())
    for layer in facts.coverage(corpus):
        digest.update(repr((layer.modality.specification(), layer.rows_done, layer.missing, layer.statistics)).encode())
    status = read_status(folder)
    digest.update(repr((status.chips, status.finalized, status.layers)).encode())
    for name, modality in corpus.modalities.items():
        if modality.extent == "image":
            digest.update(corpus.read(name, slice(0, len(corpus.manifest))).tobytes())
    return digest.hexdigest()


def settings_of(folder: Path) -> str:
    """What decides the chips, by the settings; and that the other commands accept them."""
    settings = load(str(folder))
    stages.check(settings, "export")
    place_of(folder, settings.corpus.store)
    read_allocation(folder / stages.ALLOCATION)
    Locations.read(folder / stages.LOCATIONS)
    return ""


def kind_of(name: str) -> str:
    """A file's own name at the top; below, that of its array or layer, and whether it is metadata."""
    parts = name.split("/")
    if len(parts) == 1:
        return name
    return f"{parts[0]}/{parts[1]}/{'metadata' if parts[-1] == 'zarr.json' else 'content'}"


def files_of(folder: Path) -> list[str]:
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    return [name for name in names if not name.startswith(".")]


def said(folder: Path) -> str | None:
    """What names the damage: verify, or the command that reads the file. None where nothing does."""
    try:
        found = verify(folder, Silent())
        if found.faults:
            return str(found.faults[0])
        settings_of(folder)
        return None
    except GeocorpusError as error:
        return str(error)


def trained_on(folder: Path, before: str) -> bool:
    """Whether people get other results than before, without a word."""
    try:
        return results(folder) != before
    except GeocorpusError:
        return False


def test_a_flipped_bit_is_named_or_harmless(folder: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(SEED)
    before, files = results(folder), files_of(folder)
    kinds = sorted({kind_of(name) for name in files})
    outcomes: Counter[str] = Counter()
    silent, trained = [], []
    for flip in range(FLIPS):
        kind = kinds[flip % len(kinds)]
        name = str(random.choice([each for each in files if kind_of(each) == kind]))
        path = folder / name
        content = path.read_bytes()
        bit = int(random.integers(8 * len(content)))
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            words = said(folder)
            if trained_on(folder, before):
                trained.append((name, bit, words))
            outcomes["named" if words else "harmless"] += 1
            if words is None and trained and trained[-1][:2] == (name, bit):
                silent.append((name, bit))
        finally:
            path.write_bytes(content)
    print(f"{FLIPS} flips over {len(kinds)} kinds of files: {dict(outcomes)}, {len(trained)} used")
    assert not silent and not trained, (silent, trained)
    assert results(folder) == before and said(folder) is None
