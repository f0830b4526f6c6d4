"""Every block of Python in the README and the documentation runs as it is written, a page in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.extras import NO_TORCH

pytest.importorskip("torch", reason=NO_TORCH)

import geocorpus
from exporters import catalog
from pipeline.corpus import Corpus
from pipeline.modality import Modality
from sandbox.planet import Planet
from sandbox.service.server import Sandbox
from tests.pipeline.chips import make_manifest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BLOCK = re.compile(r"(?P<comment><!-- not run: [^\n]+ -->\n)?^```python\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
SERVED = "http://127.0.0.1:8765"  # where the pages have the local Earth Engine
SIZE_PX = 32
LAYERS = ("sentinel2", "esa_worldcover", "era5")
FUNCTIONS = {name for name in geocorpus.__all__ if callable(getattr(geocorpus, name))}
EXAMPLES = sorted((ROOT / "examples" / "modalities").glob("*.py"))


def blocks_of(page: Path) -> list[tuple[int, str]]:
    """The blocks that run: the line before their code, counted from 0, and the code."""
    text = page.read_text()
    result = [item for item in BLOCK.finditer(text) if not item["comment"]]
    return [(text.count("\n", 0, item.start("code")), item["code"]) for item in result]


def program_of(page: Path) -> str:
    """All blocks as one program, each line where the page has it, so that a traceback names the page's lines."""
    lines: list[str] = []
    for line, code in blocks_of(page):
        lines += [""] * (line - len(lines)) + code.splitlines()
    return "\n".join(lines) + "\n"


RUNNABLE = [page for page in PAGES if blocks_of(page)]


SCARCE = "B10"


def values_of(modality: Modality, rows: int) -> np.ndarray:
    """Legal values, the same for a layer whenever it is asked."""
    random, shape = np.random.default_rng(0), (rows, *modality.shape(SIZE_PX))
    if modality.categories:
        return random.choice(modality.codes, shape).astype(modality.dtype)
    values = random.integers(200, 300, shape).astype(modality.dtype)
    if modality.statistics_by:  # a band that one of the groups lacks everywhere is no input, as in the demo
        values[:, modality.band_names.index(SCARCE)] = modality.nodata
    return values


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the pages suppose it: the demo's corpus, finalized, with a run."""
    folder = tmp_path_factory.mktemp("reader")
    demo = folder / "out" / "demo"
    demo.mkdir(parents=True)
    make_manifest(demo, 24, SIZE_PX)
    corpus = Corpus.create(demo, catalog.modalities(LAYERS), shard_rows=8)
    for shard in corpus.shards:
        for modality in corpus.modalities.values():
            corpus.write(shard, modality.name, values_of(modality, len(shard)), {})
    corpus.finalize()
    geocorpus.pretrain(demo, "demo", preset="demo", steps=1, batch_size=4, image_px=SIZE_PX, inputs=["sentinel2"])
    (folder / "lab").symlink_to(demo)
    return folder


def test_pages_have_blocks_and_most_of_them_run() -> None:
    assert {"README.md", "python.md", "own-loop.md", "modalities.md", "training.md"} <= {item.name for item in RUNNABLE}
    reasons = [reason for page in PAGES for reason in re.findall(r"<!-- not run: (.*) -->", page.read_text())]
    assert sum("tests/" not in reason for reason in reasons) <= 3, "some blocks are run by tests that they name"


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.name)
def test_blocks_run_as_they_are_written(page: Path, folder: Path) -> None:
    program = folder / f"page_{page.stem}.py"  # "training.py" would hide a package of ours
    with Sandbox(Planet(0)) as sandbox:
        program.write_text(program_of(page).replace(SERVED, sandbox.url))
        outcome = subprocess.run(
            [sys.executable, str(program)], cwd=folder, text=True, capture_output=True, timeout=280,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
        )  # fmt: skip
    assert outcome.returncode == 0, f"{page.name} (with the page's lines):\n{outcome.stderr}"


def test_every_public_function_has_an_example_that_runs() -> None:
    notebooks = ("".join(cell["source"]) for path in NOTEBOOKS for cell in json.loads(path.read_text())["cells"])
    code = "\n".join([*map(program_of, RUNNABLE), *notebooks])  # tests/test_notebooks.py runs those
    without = {name for name in FUNCTIONS if not re.search(rf"(?<![\w.])(?:geocorpus\.)?{name}(?:\.\w+)?\(", code)}
    assert not without - {"Corpus"}, without  # `open` gives one
    assert re.search(r"geocorpus\.open\(", code)


@pytest.mark.parametrize("path", [*RUNNABLE, *EXAMPLES], ids=lambda path: path.name)
def test_people_are_shown_public_names_alone(path: Path) -> None:
    shown = program_of(path) if path.suffix == ".md" else path.read_text()
    inner = re.findall(
        r"^\s*(?:from|import) ((?:pipeline|sampling|exporters|training|flows)\b\S*)", shown, re.MULTILINE
    )
    assert not inner, f"{path.name} imports {inner}; give it from geocorpus"
