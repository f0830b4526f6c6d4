"""The seal: what is small and has changed is named when a corpus is opened; what changes a corpus breaks the seal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.modality import Band, Modality
from pipeline.seal import SEAL, Seal
from tests.pipeline.chips import COVER, MODALITIES, make_block
from tests.pipeline.damage import cut, edit_mean, edit_title, fill, flip


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("statistics.json", cut), ("statistics.json", Path.unlink), ("manifest.parquet", flip),
        ("manifest.digest.json", flip), ("corpus.zarr/zarr.json", edit_title), ("corpus.zarr/cover/zarr.json", flip),
        ("corpus.zarr/longitude/zarr.json", flip), ("corpus.zarr/longitude/c/0", flip),
        ("corpus.zarr/split/c/0", Path.unlink), ("corpus.zarr/band_optical/c/0", flip),
    ],
)  # fmt: skip
def test_opening_names_what_is_not_as_it_was_sealed(folder: Path, name: str, damage: Callable[[Path], None]) -> None:
    Corpus.open(folder)
    damage(folder / name)
    with pytest.raises(Fatal, match=f"{name} is lost or damaged.*`geocorpus verify {folder}`") as refusal:
        Corpus.open(folder)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("damage", [edit_mean, Path.unlink])
def test_statistics_come_from_entries_as_they_were_sealed(folder: Path, damage: Callable[[Path], None]) -> None:
    corpus = Corpus.open(folder)
    assert corpus.statistics("optical") and corpus.statistics("cover")
    damage(corpus.ledger.path("optical", 1))
    assert corpus.statistics("cover")
    with pytest.raises(Fatal, match=r"ledger/optical/00001.json is lost or damaged"):
        corpus.statistics("optical")


def test_no_bit_of_the_seal_flips_unseen(folder: Path) -> None:
    path = folder / SEAL
    content = path.read_bytes()
    for bit in np.random.default_rng(0).integers(0, 8 * len(content), 200).tolist():
        flip(path, bit)
        with pytest.raises(Fatal, match=r"seal.json is damaged; `geocorpus verify .* --repair`"):
            Corpus.open(folder)
        path.write_bytes(content)
    Corpus.open(folder)


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", '{"files": [], "objects": 3}', '"\ud800"'])
def test_a_seal_of_another_kind_is_damaged(folder: Path, content: str) -> None:
    (folder / SEAL).write_bytes(content.encode(errors="surrogatepass"))
    with pytest.raises(Fatal, match="seal.json is damaged"):
        Corpus.open(folder)


def write(corpus: Corpus) -> None:
    shard = corpus.shards[1]
    corpus.write(shard, COVER.name, make_block(COVER, len(shard), 16, 7), {})


def add(corpus: Corpus) -> None:
    corpus.add(Modality("novel", "Novel", (Band("n"),), "int16", -1))


@pytest.mark.parametrize("change", [write, add])
def test_what_changes_a_corpus_breaks_the_seal(folder: Path, change: Callable[[Corpus], None]) -> None:
    corpus = Corpus.open(folder)
    change(corpus)
    assert not (folder / SEAL).exists()
    again = Corpus.open(folder)
    again.statistics(COVER.name)
    fill(again)
    again.finalize()
    assert Seal.read(folder) is not None and Corpus.open(folder).missing() == {}


def test_the_same_layers_anew_leave_the_seal(folder: Path) -> None:
    before = (folder / SEAL).read_bytes()
    Corpus.create(folder, MODALITIES, shard_rows=8)
    Corpus.open(folder).finalize()
    assert (folder / SEAL).read_bytes() == before
