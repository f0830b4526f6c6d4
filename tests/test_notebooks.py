"""The notebooks run as they are, in a real kernel, and what the tree keeps of them is what they show."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.extras import NO_SKLEARN, NO_TORCH

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NO_JUPYTER = "a kernel is not installed: pip install nbclient ipykernel"
OF_A_MACHINE = re.compile(r"/(?:tmp|home|root|work|var|Users)/|[A-Z]:\\\\|127\.0\.0\.1|api_?key|token|password", re.I)
LARGEST_BYTES = 500_000


def cells_of(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text())["cells"])


def code_of(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in cells_of(path) if cell["cell_type"] == "code"]


def texts_of(cells: list[Any]) -> str:
    """All text that cells show, but the HTML of tables, which they show as text too."""
    parts: list[str] = []
    for output in (output for cell in cells for output in cell["outputs"]):
        parts += ["".join(output.get("text", "")), "".join(output.get("data", {}).get("text/plain", ""))]
    return "\n".join(parts)


def tables_of(cells: list[Any]) -> list[list[str]]:
    """The cells of each table that is shown."""
    shown = [output.get("data", {}).get("text/html", "") for cell in cells for output in cell["outputs"]]
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", "".join(html)) for html in shown if html]


def kinds_of(cells: list[Any]) -> list[list[str]]:
    """What sort of things each cell shows."""
    return [
        [output["output_type"], *sorted(output.get("data", {}))] for cell in cells for output in cell["outputs"]
    ]  # fmt: skip


def run(name: str, folder: Path) -> list[Any]:
    """The code cells of a notebook after a run in an empty folder; a cell that raises fails the test."""
    for module in ("nbclient", "ipykernel"):
        pytest.importorskip(module, reason=NO_JUPYTER)
    from run_notebooks import executed, tidied

    notebook = tidied(executed(ROOT / "notebooks" / f"{name}.ipynb", folder))
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    stored = code_of(ROOT / "notebooks" / f"{name}.ipynb")
    again = f"python docs/run_notebooks.py {name}"
    assert kinds_of(cells) == kinds_of(stored), f"it shows other things than the tree keeps; {again}"
    return cells


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_nothing_to_a_corpus(tmp_path: Path) -> None:
    cells = run("first-corpus", tmp_path)
    assert tables_of(cells) == tables_of(code_of(ROOT / "notebooks" / "first-corpus.ipynb")), "stale: run it again"
    text = texts_of(cells)
    assert "export    ████████████████████  16 of 16" in text
    assert "Corpus first-corpus: 16 chips of 128 px, with aster, canopy_height_eth, era5, esa_worldcover" in text
    assert (tmp_path / "first-corpus" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_layer_of_ones_own(tmp_path: Path) -> None:
    cells = run("own-layer", tmp_path)
    assert tables_of(cells) == tables_of(code_of(ROOT / "notebooks" / "own-layer.ipynb")), "stale: run it again"
    assert "12 chips of 96 px, with esa_worldcover, greenness, sentinel2" in texts_of(cells)
    (table,) = tables_of(cells)
    medians = {row[0]: float(row[3]) for row in zip(*[iter(table[10:])] * 5, strict=True)}
    assert medians["tree cover"] > medians["grassland"] > medians["bare or sparse vegetation"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_a_corpus_to_few_labels(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason=NO_TORCH)
    pytest.importorskip("sklearn", reason=NO_SKLEARN)
    cells = run("few-labels", tmp_path)
    text = texts_of(cells)
    assert (
        "pretrain  ████████████████████  80 of 80" in text
        and "chips of 48 px, with aster, canopy_height_eth, era5, esa_worldcover, sentinel2" in text
    )
    table = tables_of(cells)[-1]
    assert {"trained", "random weights"} <= set(table), table
    assert (tmp_path / "few-labels" / "scores" / "fewshot.html").is_file()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_the_tree_keeps_tells_nothing_of_a_machine(path: Path) -> None:
    text = path.read_text()
    without_pictures = re.sub(r'"image/png": "[^"]*"', "", text)
    assert not OF_A_MACHINE.findall(without_pictures)
    assert "\\u001b" not in text and len(text) < LARGEST_BYTES
    assert json.loads(text)["metadata"].keys() == {"kernelspec", "language_info"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_the_tree_keeps_was_run_from_top_to_bottom(path: Path) -> None:
    cells = code_of(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not [kind for kind in kinds_of(cells) if kind[0] == "error"]
    assert {kind for kinds in kinds_of(cells) for kind in kinds[1:]} <= {"text/plain", "text/html", "image/png"}
    assert sum("image/png" in kind for kind in kinds_of(cells)) >= 2, "nothing to see"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_people_are_shown_public_names_alone(path: Path) -> None:
    code = "\n".join("".join(cell["source"]) for cell in code_of(path))
    inner = re.findall(r"^\s*(?:from|import) ((?:pipeline|sampling|exporters|training|flows)\b\S*)", code, re.MULTILINE)
    assert not inner, f"{path.name} imports {inner}; give it from geocorpus"
    assert re.search(r"^(?:import geocorpus|from geocorpus import)", code, re.MULTILINE)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_of_a_notebook_lead_somewhere(path: Path) -> None:
    text = "\n".join("".join(cell["source"]) for cell in cells_of(path) if cell["cell_type"] == "markdown")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert links and all((path.parent / link).exists() for link in links), links


@pytest.mark.slow
def test_a_cell_that_raises_is_an_error(tmp_path: Path) -> None:
    for module in ("nbclient", "ipykernel"):
        pytest.importorskip(module, reason=NO_JUPYTER)
    import nbformat
    from nbclient.exceptions import CellExecutionError
    from run_notebooks import executed

    path = tmp_path / "wrong.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")]), path)
    with pytest.raises(CellExecutionError, match="division by zero"):
        executed(path, tmp_path)
