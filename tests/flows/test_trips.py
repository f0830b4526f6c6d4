"""How often an export does what once is enough for: counted over a whole export, threads included."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from exporters import catalog, sources
from flows import stages
from flows.settings import Settings, parse
from pipeline.corpus_folder import LEDGER, MANIFEST
from pipeline.ledger import Ledger
from pipeline.manifest import Manifest
from pipeline.modality import Modality
from pipeline.progress import Silent
from sandbox.service.server import Sandbox
from tests.exporters import tiny_earth
from tests.exporters.chips import chip
from tests.exporters.tiny_earth import day

CHIPS, SHARD_ROWS = 8, 4
OTHERS = 4  # layers that this manifest cannot have, at most
OPTIONAL = len(catalog.everything()) - len(catalog.modalities())  # they are looked at as the layers are listed
OPTIONAL = len(catalog.everything()) - len(catalog.modalities())  # looked at as the layers are listed
OWN_FILE = """
from pathlib import Path
import numpy as np
from exporters.sources import Local
from pipeline.modality import Band, Modality

with (Path(__file__).parent / "runs.log").open("a") as log:
    log.write("once\\n")
mine = Modality("mine", "Of this file", (Band("row"),), "float32", -1.0, extent="image",
                source=Local(lambda chip: np.array([float(chip.row)])))
"""


@contextmanager
def counted(*functions: Callable[..., Any]) -> Iterator[Counter[str]]:
    """How often each function is called, by whichever thread that starts within the block."""
    codes: dict[CodeType, str] = {function.__code__: function.__qualname__ for function in functions}
    calls: Counter[str] = Counter()

    def look(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and frame.f_code in codes:
            calls[codes[frame.f_code]] += 1

    threading.setprofile(look)
    sys.setprofile(look)
    try:
        yield calls
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def new_corpus(folder: Path, url: str) -> Settings:
    """A frozen manifest and a modality file of the user's own; nothing is pulled yet."""
    (folder / "mine.py").write_text(OWN_FILE)
    Manifest.freeze([chip(day(2019, 6, 2), "l2a", day(2019, 6, 5), place=n) for n in range(CHIPS)], 0).write(
        folder / MANIFEST
    )
    return parse({
        "corpus": {"folder": str(folder), "shard_rows": SHARD_ROWS, "modality_files": [str(folder / "mine.py")]},
        "source": {"project": "demo-project", "url": url},
    })  # fmt: skip


def test_an_export_does_once_what_once_is_enough_for(tmp_path: Path) -> None:
    with Sandbox(catalog=tiny_earth.standard()) as sandbox:
        settings = new_corpus(tmp_path, sandbox.url)
        with stages.earth_engine(settings) as engine:
            stages.check(settings, "export")
            with counted(Manifest.read.__func__, sources.source_of, Modality.specification) as calls:
                stages.export(settings, engine, Silent())
        layers = len(stages.layers(settings))
    assert (tmp_path / "runs.log").read_text().count("once") == 1, "the user's file is run once"
    assert calls["Manifest.read"] == 1
    # As it binds the layers, groups them, looks up their assets and what would be asked: whatever the chips.
    # Also of layers for which the manifest lacks a column.
    assert calls["source_of"] <= 4 * layers + OTHERS + 2 * OPTIONAL, f"{calls['source_of'] / CHIPS:.0f} times a chip"
    # As arrays are laid out, as the store's own are read, and for one digest of each; two threads may make one at once.
    assert calls["Modality.specification"] <= 5 * layers < CHIPS * layers


def test_finalizing_reads_the_manifest_once_and_the_ledger_twice(tmp_path: Path) -> None:
    with Sandbox(catalog=tiny_earth.standard()) as sandbox:
        settings = new_corpus(tmp_path, sandbox.url)
        with stages.earth_engine(settings) as engine:
            stages.export(settings, engine, Silent())
    entries = len(list((tmp_path / LEDGER).rglob("*.json")))
    with counted(Manifest.read.__func__, Ledger.read) as calls:
        stages.finalize(settings, Silent())
    assert calls["Manifest.read"] == 1
    assert 0 < calls["Ledger.read"] <= 2 * entries, "once for the statistics, once for the page and its warnings"
