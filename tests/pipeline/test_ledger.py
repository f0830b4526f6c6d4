"""The ledger: what is read quickly is what is written, and damage is not taken for a mark."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import Fatal
from pipeline.ledger import Entry, Ledger


def entry(shard: int) -> Entry:
    """An entry whose reasons hold what the quick way could trip over."""
    reasons = {7: 'no scene, "summary": {', 8: ',\n "summary": 3'}
    return Entry(shard, "cover", (shard * 8, shard * 8 + 8), "m", "d", f"sha256:{shard}", reasons,
                 {"tried": 4}, {"all": [{"histogram": [1, 2, 3]}]})  # fmt: skip


def test_marks_are_the_first_part_of_the_entries(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for shard in (0, 3, 11):
        ledger.mark(entry(shard))
    assert ledger.done("cover") == {0, 3, 11}
    assert [ledger.read("cover", shard) for shard in sorted(ledger.done("cover"))] == [entry(0), entry(3), entry(11)]
    result = ledger.marks("cover", [3, 11])
    assert [(item.shard, item.rows) for item in result] == [(3, (24, 32)), (11, (88, 96))]
    assert [item.digest for item in result] == ["sha256:3", "sha256:11"]
    assert [(item.manifest_digest, item.modality_digest, item.modality) for item in result] == [("m", "d", "cover")] * 2


def test_what_is_read_without_statistics_is_all_else(tmp_path: Path) -> None:
    """Also of an entry that someone has written in another way, which is read whole."""
    ledger = Ledger(tmp_path)
    for shard in (0, 3):
        ledger.mark(entry(shard))
    path = ledger.path("cover", 3)
    path.write_text(json.dumps(json.loads(path.read_text())))
    read = list(ledger.without_statistics("cover", [0, 3]))
    assert read == [replace(entry(0), summary={}), replace(entry(3), summary={})]


def test_files_of_others_are_no_marks(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.mark(entry(0))
    for name in ("00000 (copy).json", "00001.json~", "1.txt", ".DS_Store"):
        (tmp_path / "cover" / name).write_text("nothing")
    assert ledger.done("cover") == {0} and ledger.done("absent") == frozenset()


def test_entries_of_older_corpora_are_read(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.mark(entry(1))
    path = ledger.path("cover", 1)
    text = path.read_text().replace(' "quality": {\n  "tried": 4\n },\n', "").replace(' "index_crc32c": null,\n', "")
    path.write_text(re.sub(r',\n "text_crc32c": "[0-9a-f]{8}"', "", text))
    assert "quality" not in path.read_text() and "crc32c" not in path.read_text()
    assert ledger.read("cover", 1).quality == {}
    assert ledger.marks("cover", [1])[0].digest == "sha256:1"


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.6, 0.9, 0.99])
def test_a_cut_entry_is_no_mark(tmp_path: Path, keep: float) -> None:
    ledger = Ledger(tmp_path)
    ledger.mark(entry(2))
    path = ledger.path("cover", 2)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(Fatal, match=r"00002\.json"):
        ledger.marks("cover", [2])


def test_an_entry_written_in_another_way_is_read_whole(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.mark(entry(2))
    path = ledger.path("cover", 2)
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert ledger.marks("cover", [2])[0].rows == (16, 24)


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize(("was", "now"), [('sha256:2"', 'sha256:3"'), ("23", "24"), ("24", "25"), ("cover", "cower")])
def test_a_changed_entry_is_named(tmp_path: Path, was: str, now: str, compact: bool) -> None:
    ledger = Ledger(tmp_path)
    ledger.mark(replace(entry(2), summary={"mean": 23}))
    path = ledger.path("cover", 2)
    text = path.read_text().replace(was, now)
    path.write_text(json.dumps(json.loads(text)) if compact else text)
    for look in (lambda: ledger.marks("cover", [2]), lambda: ledger.read("cover", 2)):
        with pytest.raises(Fatal, match=r"00002\.json is damaged .*; delete it and export again"):
            look()


def test_the_entry_of_another_shard_is_named(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.mark(entry(2))
    ledger.path("cover", 3).write_bytes(ledger.path("cover", 2).read_bytes())
    for look in (lambda: ledger.marks("cover", [3]), lambda: ledger.read("cover", 3)):
        with pytest.raises(Fatal, match=r"00003\.json is damaged \(it is of shard 2 of 'cover'\)"):
            look()


def test_every_flipped_bit_of_an_entry_is_named_or_harmless(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.mark(entry(2))
    path = ledger.path("cover", 2)
    content, known, mark = path.read_bytes(), ledger.read("cover", 2), ledger.marks("cover", [2])
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with contextlib.suppress(Fatal):
            assert ledger.read("cover", 2) == known
        with contextlib.suppress(Fatal):
            assert ledger.marks("cover", [2]) == mark
