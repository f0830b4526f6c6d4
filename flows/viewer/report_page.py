"""The report of a corpus as a page beside the explorer: its chips are links to the explorer's."""

from __future__ import annotations

from collections.abc import Container

from exporters.report.report import REPORT, linked
from flows.viewer.address import at_chip
from pipeline.corpus import Corpus
from pipeline.errors import Fatal

HOME = "index.html"


def has_report(corpus: Corpus) -> bool:
    """Whether a report lies in the folder of the corpus."""
    return (corpus.folder / REPORT).is_file()


def report_page(corpus: Corpus, rows: Container[int]) -> bytes:
    """The report with links to the explorer, and to the chips in `rows`. Raises `Fatal` where there is no report."""
    if not has_report(corpus):
        raise Fatal(f"{corpus.folder} has no report yet; `geocorpus report {corpus.folder}` writes it.")
    page = (corpus.folder / REPORT).read_text(encoding="utf-8")
    return linked(page, HOME, lambda row: HOME + at_chip(row) if row in rows else "").encode()
