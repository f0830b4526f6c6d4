"""Quality flags of single chips in the explorer are those that the values call for, row by row."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from flows.viewer.flags import NO_DATA, NO_FLAG, NOT_LOOKED_AT, NOT_NAMED
from flows.viewer.server import application
from pipeline.corpus import Corpus
from tests.flows.viewer.flagged_corpus import CHIPS, make_flagged


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return make_flagged(tmp_path / "flagged")


def client_of(corpus: Corpus) -> TestClient:
    return TestClient(application(corpus), base_url="http://127.0.0.1:1")


def said(corpus: Corpus, name: str) -> list[str]:
    client = client_of(corpus)
    column = client.get(f"/data/columns/{name}.json").json()
    codes = np.frombuffer(client.get(f"/data/columns/{name}.bin").content, column["dtype"])
    return [column["labels"][code] for code in codes]


def expected(**rows: str) -> list[str]:
    return [rows.get(f"row_{row}", NO_DATA if row == 9 else NO_FLAG) for row in range(CHIPS)]


def test_each_flag_is_a_column_and_every_row_is_named(corpus: Corpus) -> None:
    edges = {f"row_{row}": "ascending" for row in range(0, CHIPS, 2)}
    assert said(corpus, "flag:partial:sentinel1") == expected(**edges)
    assert said(corpus, "flag:polarisation:sentinel1") == expected(row_3="descending VH")
    assert said(corpus, "flag:lost:sentinel1") == expected(row_5="descending", row_9="ascending and descending")
    assert said(corpus, "flag:noise:sentinel1") == expected(row_7="descending VV")
    assert said(corpus, "flag:constant:sentinel1") == expected()
    flagged = {*range(0, CHIPS, 2), 3, 5, 7, 9}
    assert said(corpus, "flags") == ["sentinel1" if row in flagged else NO_FLAG for row in range(CHIPS)]


def test_the_titles_are_words_and_layers_without_flags_have_no_column(corpus: Corpus) -> None:
    titles = {item["name"]: item["title"] for item in client_of(corpus).get("/data/corpus.json").json()["columns"]}
    assert titles["flag:polarisation:sentinel1"] == "sentinel1: polarisation lost"
    assert titles["flags"] == "any quality flag"


def test_a_chip_tells_its_own(corpus: Corpus) -> None:
    client = client_of(corpus)

    def flags_of(row: int) -> list[str]:
        content = client.get(f"/data/chips/{row}/chip.bin").content
        return list(json.loads(content[4 : 4 + int.from_bytes(content[:4], "little")])["flags"])

    assert flags_of(1) == [] and flags_of(2) == ["sentinel1: scene in part (ascending)"]
    assert flags_of(3) == ["sentinel1: polarisation lost (descending VH)"]


def test_what_an_older_ledger_does_not_name_is_said(corpus: Corpus) -> None:
    (entry,) = corpus.entries("sentinel1")
    scenes = {role: dict(found) for role, found in entry.quality["scenes"].items()}
    partial = scenes["ascending"]["partial"]
    scenes["ascending"]["partial"] = partial | {"rows": partial["rows"][:16]}
    corpus.ledger.mark(replace(entry, quality={**entry.quality, "scenes": scenes}))
    column = said(corpus, "flag:partial:sentinel1")
    assert [row for row, text in enumerate(column) if text == "ascending"] == list(range(0, 32, 2))
    assert column[1] == column[38] == NOT_NAMED and column[9] == NO_DATA


def test_without_findings_nothing_was_looked_at(corpus: Corpus) -> None:
    (entry,) = corpus.entries("sentinel1")
    corpus.ledger.mark(replace(entry, quality={}))
    assert set(said(corpus, "flags")) == set(said(corpus, "flag:lost:sentinel1")) == {NOT_LOOKED_AT}
