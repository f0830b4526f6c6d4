"""The ledger: what is read quickly is what is written, and damage is not taken for a mark."""

from __future__ import annotations

import json
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


def test_entries_of_older_corpora_are_read(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.mark(entry(1))
    path = ledger.path("cover", 1)
    path.write_text(path.read_text().replace(' "quality": {\n  "tried": 4\n },\n', ""))
    assert "quality" not in path.read_text()
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
