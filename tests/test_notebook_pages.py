"""Pages made of notebooks: text, code, and what cells show, without anything that a page has no place for."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from notebook_pages import NotebookPage

PNG = b"\x89PNG and so on"
TABLE = (
    '<div>\n<style scoped>\n    .dataframe tbody tr th {\n        vertical-align: top;\n    }\n</style>\n'
    '<table border="1" class="dataframe">\n  <thead>\n    <tr style="text-align: right;">\n      <th></th>\n'
    '      <th>a &lt; b</th>\n    </tr>\n  </thead>\n</table>\n<p>3 rows × 1 columns</p>\n</div>'
)  # fmt: skip


def page_of(folder: Path, *outputs: dict[str, Any], source: str = "draw()\n") -> NotebookPage:
    cells = [
        {"cell_type": "markdown", "source": ["# A story\n", "\n", "of [chips](../docs/export.md)."]},
        {"cell_type": "code", "source": source, "outputs": list(outputs)},
    ]
    path = folder / "story.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    return NotebookPage.of(path)


def test_text_code_and_what_is_shown_come_in_order(tmp_path: Path) -> None:
    page = page_of(
        tmp_path,
        {"output_type": "stream", "text": ["one\n", "two\n"]},
        {
            "output_type": "display_data",
            "data": {"image/png": base64.b64encode(PNG).decode(), "text/plain": "<Figure>"},
        },
        {"output_type": "execute_result", "data": {"text/plain": "42"}},
    )
    assert page.markdown.split("\n\n") == [
        "# A story", "of [chips](../docs/export.md).", "```python\ndraw()\n```", "``` { .text .output }\none\ntwo\n```",
        "![What the cell draws: A story](story-1.png){ .drawn }", "``` { .text .output }\n42\n```\n",
    ]  # fmt: skip
    assert page.pictures == {"story-1.png": PNG}


def test_a_table_keeps_its_cells_and_loses_its_style(tmp_path: Path) -> None:
    shown = {"output_type": "execute_result", "data": {"text/html": TABLE, "text/plain": "   a < b"}}
    table = page_of(tmp_path, shown).markdown.split("\n\n")[-1].rstrip("\n")
    assert table == "<table>\n<thead>\n<tr>\n<th></th>\n<th>a &lt; b</th>\n</tr>\n</thead>\n</table>"


def test_code_that_holds_a_fence_does_not_end_its_block(tmp_path: Path) -> None:
    assert "````python\n```\n````" in page_of(tmp_path, source="```").markdown


@pytest.mark.parametrize(
    "output",
    [
        {"output_type": "display_data", "data": {"application/javascript": "alert(1)"}},
        {"output_type": "display_data", "data": {"text/html": "<script>alert(1)</script>"}},
        {"output_type": "error", "ename": "Fatal", "traceback": []},
    ],
)
def test_what_a_page_has_no_place_for_is_an_error(output: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no place for|only tables"):
        page_of(tmp_path, output)
