"""The explorer as files, for a web server: the map of all places, and some of the chips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from exporters.formats.convert import put_out
from exporters.report.chips import choose_rows
from exporters.report.report import REPORT
from flows.viewer.answers import Answer, Answers, as_json
from flows.viewer.report_page import has_report, report_page
from flows.viewer.server import PAGE, page_file
from pipeline.corpus import Corpus
from pipeline.durable import write_bytes
from pipeline.errors import Fatal
from pipeline.progress import Progress

_WHOLE = ("places.bin", "outlines.json")


def export(folder: Path, target: Path, chips: int, progress: Progress) -> str:
    """Write the page, all places, and `chips` chips, biomes in turn, into `target`; returns a line about it.

    What is stopped halfway is not there. Raises `Fatal` for no corpus, for a target that is a file, has something in it
    or lies in the corpus, and for a damaged shard.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Fatal(f"{target} has something in it; give an empty folder, or one that does not exist.")
    corpus = Corpus.open(folder)
    rows = choose_rows(corpus, chips)
    put_out([corpus], target, True, lambda draft: _write(corpus, rows, draft, progress))
    return f"{target}: the map of {len(corpus.manifest):,} places and {len(rows)} chips; any web server serves it."


def _write(corpus: Corpus, rows: Sequence[int], folder: Path, progress: Progress) -> str:
    answers = Answers(corpus)
    for name in PAGE:
        write_bytes(folder / name, page_file(name))
    if has_report(corpus):
        write_bytes(folder / REPORT, report_page(corpus, rows))
    progress.start("view", len(rows))
    for path, answer in _whole(answers, rows):
        write_bytes(folder / "data" / path, answer.body)
    for row in rows:
        for path in _of_chip(corpus, row, answers):
            write_bytes(folder / "data" / path, answers.of(path).body)
        progress.advance()
    return ""


def _whole(answers: Answers, rows: Sequence[int]) -> Iterator[tuple[str, Answer]]:
    """`exported` tells the page which chips there are, and that there is nobody to search for it."""
    summary = answers.summary()
    yield "corpus.json", as_json(summary | {"folder": summary["name"], "exported": list(rows)})
    yield from ((name, answers.of(name)) for name in _WHOLE)
    for name in answers.columns.names:
        for path in (f"columns/{name}.json", f"columns/{name}.bin"):
            yield path, answers.of(path)


def _of_chip(corpus: Corpus, row: int, answers: Answers) -> Iterator[str]:
    yield f"chips/{row}/chip.bin"
    yield from (f"chips/{row}/{name}.tif" for name in corpus.modalities if answers.has(row, name))
