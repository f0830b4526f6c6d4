"""Progress in a notebook: what the cell shows while it runs, and what is kept of it, also in a real kernel."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.progress.cell import Cell


class Shown:
    """What a cell shows: each text in turn, of which the last one stays."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, text: str) -> Callable[[str], None]:
        assert not self.texts, "a second output"
        self.texts.append(text)
        return self.texts.append

    @property
    def lines(self) -> list[str]:
        """Those of the last text, without how long a stage took."""
        return [re.sub(r"(?<=\d)  \d+ \w+$", "", line) for line in self.texts[-1].splitlines()]


def test_the_last_state_is_what_stays() -> None:
    shown = Shown()
    with Cell(shown) as progress:
        progress.start("sample", 8)
        progress.advance(8)
        progress.note(candidates=12)
        progress.start("export", 1200, 600)
        progress.note(left_s=75.0, chips_per_s=4.0)
        for _ in range(600):
            progress.advance()
        progress.say("103 regions get no place.")
    assert shown.lines == [
        "sample    ████████████████████  8 of 8",
        "  candidates 12",
        "export    ████████████████████  1,200 of 1,200",
        "  chips per s 4",
        "103 regions get no place.",
    ], "the time that was left is of no use any more"


def test_a_run_that_fails_shows_how_far_it_got() -> None:
    shown = Shown()
    with pytest.raises(RuntimeError), Cell(shown) as progress:
        progress.start("export", 8)
        progress.advance(3)
        raise RuntimeError
    assert shown.lines == ["export    ███████░░░░░░░░░░░░░  3 of 8"]


def test_many_sentences_and_many_figures_stay_short() -> None:
    shown = Shown()
    with Cell(shown) as progress:
        progress.start("pretrain", 100)
        for step in range(50):
            progress.note(loss=3.25, **{f"loss_layer_{index}": 9.0 - step / 10 for index in range(15)})
        for number in range(500):
            progress.say(f"sentence {number}, which goes on and on and on until it is too long for a line of a cell")
        progress.note(**{f"figure_{number}": number for number in range(100)})
    assert len(shown.lines) < 40 and max(map(len, shown.lines)) <= 78
    assert "(488 earlier sentences are not shown)" in shown.lines and "layer_14" in shown.texts[-1]
    assert sum("sentence" in line for line in shown.lines) == 1 + 12


def test_nothing_is_shown_of_nothing_and_no_state_twice() -> None:
    shown = Shown()
    with Cell(shown) as progress:
        progress.advance()
        progress.note(requests=3)
    assert shown.texts == []
    with Cell(shown) as progress:
        progress.start("sample", 0)
    assert shown.lines == ["sample    ████████████████████  0 of 0"]
    assert len(shown.texts) == len(set(shown.texts))


THREADS = """
from concurrent.futures import ThreadPoolExecutor
from flows.progress.display import display

def work(progress, number):
    progress.note(requests=number, **{f"loss_layer_{number % 3}": 1.0 / (1 + number)})
    progress.advance()

with display() as progress:
    progress.start("export", 2000)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: work(progress, number), range(2000)))
    progress.say("all are there")
"""
COMMAND = """
!{sys.executable} -c "{code}"
"""
CHILD = (
    "from flows.progress.display import display; shown = display(); progress = shown.__enter__(); "
    "progress.start('export', 3); [progress.advance() for _ in range(3)]; shown.__exit__(None, None, None)"
)
FATAL = """
import geocorpus
geocorpus.open("nowhere")
"""
STAGES = """
corpus = geocorpus.build("demo", corpus={"folder": "c", "size_px": 32, "shard_rows": 4, "modalities": ["biome"]},
                         sampling={"locations": 4})
corpus
"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict]]:
    """What a notebook keeps of each of these cells after a run in a real kernel."""
    nbformat = pytest.importorskip("nbformat", reason="nbclient and ipykernel are not installed")
    pytest.importorskip("nbclient", reason="nbclient and ipykernel are not installed")
    pytest.importorskip("ipykernel", reason="nbclient and ipykernel are not installed")
    from run_notebooks import executed

    folder = tmp_path_factory.mktemp("notebook")
    sources = [THREADS, f"import sys\ncode = {CHILD!r}\n{COMMAND}", FATAL, STAGES]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source.strip()) for source in sources])
    notebook.cells[2].metadata.tags = ["raises-exception"]
    nbformat.write(notebook, folder / "all.ipynb")
    return [cell.outputs for cell in executed(Path(folder / "all.ipynb"), folder).cells]


def text_of(output: dict) -> str:
    return output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"]


@pytest.mark.slow
def test_a_kernel_keeps_one_output_however_many_threads_tell(cells: list[list[dict]]) -> None:
    (output,) = cells[0]
    assert list(output["data"]) == ["text/plain"]
    lines = text_of(output).splitlines()
    assert lines[0].startswith("export    ████████████████████  2,000 of 2,000  ")
    assert lines[-1] == "all are there" and len(lines) < 8 and "\x1b" not in text_of(output)


@pytest.mark.slow
def test_a_command_in_a_cell_prints_plain_lines(cells: list[list[dict]]) -> None:
    """Jupyter gives it a pseudo-terminal, and shows what moves the cursor as it is."""
    text = "".join(text_of(output) for output in cells[1])
    assert text.split() == "export: 0/3 export: 3/3".split()


@pytest.mark.slow
def test_an_error_is_one_sentence(cells: list[list[dict]]) -> None:
    (output,) = cells[2]
    assert output["output_type"] == "error" and output["ename"] == "Fatal"
    assert len(output["traceback"]) == 1 and output["traceback"][0].startswith("Fatal: ")
    assert "nowhere" in output["traceback"][0]


@pytest.mark.slow
def test_the_stages_show_their_bars_and_the_corpus_itself(cells: list[list[dict]]) -> None:
    shown, result = cells[3]
    bars = [line.split()[0] for line in text_of(shown).splitlines() if "█" in line]
    assert bars == ["sample", "anchor", "export", "finalize"] and "4 of 4" in text_of(shown)
    assert text_of(result) == "Corpus c: 4 chips of 32 px, with biome"
