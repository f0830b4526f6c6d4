"""Runs the notebooks and keeps what they show: `python docs/run_notebooks.py [NAME...]`. A test runs them with it, too.

Each runs from a clean state, in a temporary folder. What is kept is what a reader may see and what does not change
from run to run without need: no times of execution, no widgets.
"""

from __future__ import annotations

import base64
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from code_map import ROOT

if TYPE_CHECKING:
    from nbformat import NotebookNode

FOLDER = ROOT / "notebooks"
_LIMIT_S = 1800  # of one cell, on a busy machine: a build that waits for others took ten minutes once
_KEPT = ("text/plain", "text/html", "image/png")


def executed(path: Path, folder: Path) -> NotebookNode:
    """The notebook as a reader has it after "run all" in an empty `folder`; raises what its first failing cell did."""
    import nbformat
    from nbclient import NotebookClient
    from traitlets.config import Config

    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(folder)}}
    with tempfile.TemporaryDirectory(prefix="kernel") as sockets:
        # Not over TCP, where anybody on this machine could listen in.
        config = Config(KernelManager={"transport": "ipc", "ip": f"{sockets}/kernel"})
        client = NotebookClient(notebook, timeout=_LIMIT_S, startup_timeout=_LIMIT_S, resources=place, config=config)
        client.execute(env={**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"})
    return notebook


def tidied(notebook: NotebookNode) -> NotebookNode:
    """The same without what tells only of this run."""
    for count, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
        cell.metadata.clear()
        cell.execution_count = count
        for output in cell.outputs:
            _tidy(output, count)
    notebook.metadata.pop("widgets", None)
    notebook.metadata.language_info = {"name": "python"}
    return notebook


def _tidy(output: NotebookNode, count: int) -> None:
    output.pop("transient", None)
    if "execution_count" in output:
        output.execution_count = count
    if "data" in output:
        output.metadata.clear()
        for kind in output.data.keys() - set(_KEPT):
            del output.data[kind]
        if "image/png" in output.data:
            output.data["image/png"] = _lightened(output.data["image/png"])


def _lightened(picture: str) -> str:
    """A picture (PNG in base64) in half the bytes: five bits a colour, which nobody sees; white stays white."""
    from PIL import Image

    coarse = [value & 0xF8 if value < 0xF8 else 0xFF for value in range(256)]
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB").point(coarse * 3)
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


def main(names: list[str]) -> None:
    """Run those of these names, or all, and write them over."""
    import nbformat

    for path in sorted(FOLDER.glob("*.ipynb")):
        if not names or path.stem in names:
            with tempfile.TemporaryDirectory() as folder:
                nbformat.write(tidied(executed(path, Path(folder))), path)


if __name__ == "__main__":
    main(sys.argv[1:])
