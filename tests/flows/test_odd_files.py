"""Files of a corpus that are empty, of another kind, cut or folders: one sentence from whatever reads them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from exporters.earth_engine.compute import USAGE, Usage
from exporters.report.report import write_report
from flows import stages
from flows import verify as verifying
from flows.progress.progress_file import PROGRESS
from flows.settings import load, parse
from flows.terminal.status import read_status, show
from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST, PLACE, STATISTICS, STORE
from pipeline.dead_letters import FAILED, DeadLetter, DeadLetters
from pipeline.errors import GeocorpusError
from pipeline.location import Location, write_location_table
from pipeline.locations import Locations
from pipeline.progress import Silent
from pipeline.seal import SEAL
from sampling.allocation import read_allocation
from tests.extras import NO_TORCH

pytest.importorskip("torch", reason=NO_TORCH)

import geocorpus
from tests.training.corpora import CONFIG, make_corpus
from training.pretrain.resolved_run import resolve_run

KINDS = {
    "empty": b"", "list": b"[]", "null": b"null", "object": b"{}", "number": b"3", "text": b'"text"',
    "lists": b'[[1, 2], {"rows": "x"}]', "not UTF-8": b'\xff\xfe{"a": 1}', "not JSON": b"{",
}  # fmt: skip
DEEP = b'{"store": [], "files": 3, "digest": 1, "quotas": [{"name": 3}], "attributes": {"geocorpus": 3}, "rows": 5}'
FILES = (
    PLACE, STATISTICS, SEAL, MANIFEST, "manifest.digest.json", stages.ALLOCATION, stages.LOCATIONS, stages.REJECTED,
    stages.REGIONS, "config.toml", PROGRESS, USAGE, ".lock", f"{FAILED}/00001.json", "ledger/light/00001.json",
    f"{STORE}/zarr.json", f"{STORE}/light/zarr.json", f"{STORE}/light/c/0/0/0/0", f"{STORE}/longitude/c/0",
    f"{STORE}/longitude/zarr.json", f"{STORE}/band_light/zarr.json",
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "corpus"
    corpus = make_corpus(folder)
    table = Locations.of([Location("a", 1.0, 2.0, "s")]).table.to_pandas()
    write_location_table(folder / stages.LOCATIONS, table)
    durable.write_json(folder / stages.ALLOCATION, {"total": 0, "quotas": []})
    settings = parse({"corpus": {"folder": str(folder), "shard_rows": 8, "size_px": 32}})
    settings.save()
    DeadLetters(folder / FAILED).record(
        corpus.shards[1], [DeadLetter(9, "a", (1.0, 2.0), ("light",), "Missing", "none")]
    )
    corpus.finalize()
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "corpus"))


def _status(folder: Path) -> None:
    show(read_status(folder), as_json=False)


def _verify(folder: Path) -> None:
    verifying.show(verifying.verify(folder, Silent()), as_json=False)


def _train(folder: Path) -> None:
    resolve_run(Corpus.open(folder), CONFIG)


def _read(folder: Path) -> None:
    corpus = geocorpus.open(folder)
    corpus.chip(1).stored("light")
    corpus.xarray()


def _lay_out(folder: Path) -> None:
    Corpus.create(folder, Corpus.open(folder).modalities.values(), 8).missing()


def _settings(folder: Path) -> None:
    stages.check(load(str(folder)), "export")


def _allocation(folder: Path) -> None:
    read_allocation(folder / stages.ALLOCATION)


def _locations(folder: Path) -> None:
    Locations.read(folder / stages.LOCATIONS)


def _usage(folder: Path) -> None:
    Usage(folder / USAGE)


COMMANDS: tuple[Callable[[Path], object], ...] = (
    _status, _verify, _read, _lay_out, _train, _settings, _usage, _allocation, _locations,
)  # fmt: skip


def outcome(command: Callable[[Path], object], folder: Path) -> str:
    """What a command says: nothing where it does not mind. Any other error than ours goes through, and fails."""
    try:
        command(folder)
    except GeocorpusError as error:
        return str(error)
    return ""


def spoilers(path: Path, content: bytes) -> dict[str, Callable[[], object]]:
    """Ways to spoil a file that has this content."""
    kinds = KINDS | {"deep": DEEP, "cut": content[: len(content) // 2]}
    return {kind: partial(path.write_bytes, odd) for kind, odd in kinds.items()} | {"a folder": path.mkdir}


@pytest.mark.slow
@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "without a seal"])
@pytest.mark.parametrize("name", FILES)
def test_odd_files_are_told_in_one_sentence(folder: Path, name: str, sealed: bool) -> None:
    path = folder / name
    if not sealed:
        (folder / SEAL).unlink()
    before = path.read_bytes() if path.is_file() else None
    for kind, spoil in spoilers(path, before or b"").items():
        path.unlink(missing_ok=True)
        spoil()
        for command in COMMANDS:
            said = outcome(command, folder)
            assert command is _verify or "\n" not in said, (kind, command, said)  # which gives a list
        path.rmdir() if path.is_dir() else path.unlink()
        if before is not None:
            path.write_bytes(before)
    assert outcome(_verify, folder) == ""


@pytest.mark.parametrize(
    ("name", "command", "words"),
    [
        (PLACE, _status, "store.json is damaged.*write it anew"),
        (STATISTICS, _read, "statistics.json is lost or damaged.*geocorpus verify"),
        (f"{STORE}/zarr.json", _read, "zarr.json is lost or damaged.*geocorpus verify"),
        ("ledger/light/00001.json", _train, "00001.json is (lost or )?damaged"),
        (f"{FAILED}/00001.json", _status, "failed/00001.json is damaged.*delete it and export again"),
        (stages.ALLOCATION, _allocation, "allocation.json is damaged.*delete it and run `geocorpus sample` again"),
        (MANIFEST, _status, "manifest.parquet cannot be read.*restore it from a copy"),
        ("config.toml", _settings, "config.toml"),
    ],
)
def test_the_sentence_names_the_file_and_the_remedy(
    folder: Path, name: str, command: Callable[[Path], object], words: str
) -> None:
    (folder / name).write_bytes(b"[3]")
    with pytest.raises(GeocorpusError, match=words):
        command(folder)


def test_the_report_minds_its_neighbours_alone(folder: Path) -> None:
    for name in (stages.REJECTED, stages.REGIONS):
        (folder / name).write_bytes(b"[]")
        with pytest.raises(GeocorpusError, match=name):
            write_report(folder, chips=0)
        (folder / name).unlink()
    write_report(folder, chips=0)


def test_an_entry_of_another_kind_is_damaged_though_its_json_is_whole(folder: Path) -> None:
    (folder / SEAL).unlink()
    path = folder / "ledger/light/00001.json"
    data = json.loads(path.read_text())
    for name in ("summary", "missing", "quality", "rows"):
        durable.write_json(path, {key: value for key, value in data.items() if key != "text_crc32c"} | {name: 3})
        assert "00001.json is damaged" in outcome(_train, folder)
