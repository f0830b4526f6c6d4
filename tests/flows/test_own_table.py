"""The table of plots on the page about sampling: what is printed, and what becomes of it, is as the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from flows import stages
from flows.settings import load
from pipeline.chip import Chip
from pipeline.progress import Silent

PAGE = (Path(__file__).parents[2] / "docs/sampling.md").read_text()
PART = PAGE[PAGE.index("## Your own table of places") :]
TABLE, PRINTED = (block.strip("\n") for block in re.findall(r"```\n(.*?)```", PART, re.DOTALL)[:2])


class Told(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)


def row_of(chip: Chip) -> tuple[str, ...]:
    """A chip as the page's table has it."""
    own = chip.own
    return own["own_id"], own["crop"], str(own["date"] or ""), chip.split, f"{chip.acquisition.date:%Y-%m-%d}"


@pytest.mark.slow
def test_the_page_tells_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plots.csv").write_text(TABLE + "\n")
    command = re.search(r"    geocorpus sample demo (corpus.folder=mine .*)\n", PART)
    assert command is not None
    settings, told = load("demo", command[1].split()), Told()
    stages.sample(settings, None, told)
    assert "\n".join(told.sentences) == PRINTED
    with stages.earth_engine(settings) as engine:
        stages.anchor(settings, engine, told)
    manifest = stages.Manifest.read(Path("mine/manifest.parquet"))
    rows = re.findall(r"^\| (p\d+) \| (\w+) \| ([\d-]*) ?\| (\w+) \| ([\d-]+) \|$", PART, re.MULTILINE)
    assert sorted(rows) == sorted(
        (
            chip.own["own_id"],
            chip.own["crop"],
            str(chip.own["date"] or ""),
            chip.split,
            f"{chip.acquisition.date:%Y-%m-%d}",
        )
        for chip in manifest
    )
    rejected = pd.read_parquet("mine/rejected.parquet").set_index("own_id")["reason"]
    assert list(rejected.index) == ["p005"] and rejected["p005"] in PART.replace("\n", " ")
    assert pd.read_csv("mine/dropped.csv")[["own_id", "keep_with"]].values.tolist() == [
        ["p002", "sampling.overlap=allow"]
    ]
    assert manifest.column("own_id").tolist() and isinstance(manifest[0].own["farm"], int)
