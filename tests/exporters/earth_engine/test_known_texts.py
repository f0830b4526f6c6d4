"""Every text that is known leads where its row says, and the page for users shows the same table."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporters.earth_engine import faults
from exporters.earth_engine.known_texts import KNOWN_TEXTS, Do, KnownText, as_markdown, known
from pipeline.errors import Missing, Throttled, TooLarge, Transient

ERRORS = {
    Do.SLOW_DOWN: Throttled, Do.LESS: TooLarge, Do.ONCE_MORE_THEN_LESS: faults.Overloaded, Do.NO_DATA: Missing,
    Do.NO_ASSET: faults.AssetGone, Do.SIGN_IN: faults.Unauthorised, Do.LATER: Transient,
}  # fmt: skip
PAGE = Path(__file__).resolve().parents[3] / "docs" / "refusals.md"


@pytest.mark.parametrize("row", KNOWN_TEXTS, ids=lambda row: row.pattern)
def test_an_example_finds_its_own_row_and_error(row: KnownText) -> None:
    for text in (row.example, row.example.upper(), f"Request failed: {row.example}"):
        assert known(text) is row
        assert type(faults.from_response(400, text)) is ERRORS[row.do]


def test_a_text_that_nobody_has_seen_is_kept_whole() -> None:
    error = faults.from_response(400, "Dictionary.get: something else, and 42 more words.")
    assert isinstance(error, faults.UnknownRefusal)
    assert "Dictionary.get: something else, and 42 more words." in str(error)


def test_the_page_for_users_has_the_table() -> None:
    assert as_markdown() in PAGE.read_text(encoding="utf-8"), "put known_texts.as_markdown() into docs/refusals.md"
