"""Notebooks as pages of the site: their text, their code, and what they showed when they were last run.

A notebook is JSON, and `run_notebooks.py` keeps only text, tables and pictures: to show these needs no library.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = Mapping[str, Any]
# What pandas writes around a table: a style of its own, which is wrong in the dark.
_AROUND_TABLES = re.compile(r"<style scoped>.*?</style>|</?div>| (?:border|class|style)=\"[^\"]*\"", re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_BACKTICKS = re.compile(r"^`{3,}", re.MULTILINE)


@dataclass
class NotebookPage:
    """Markdown of a notebook, and its `pictures` (PNG) by the file names that it gives them."""

    stem: str
    markdown: str = ""
    pictures: dict[str, bytes] = field(default_factory=dict)
    heading: str = ""

    @classmethod
    def of(cls, path: Path) -> NotebookPage:
        """The page of a notebook file. Raises ValueError for what it shows in a form that a page has no place for."""
        page = cls(path.stem)
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        page.markdown = "\n\n".join(part for cell in cells for part in page._parts(cell)) + "\n"
        return page

    def _parts(self, cell: Json) -> Iterator[str]:
        text = _text(cell["source"])
        if cell["cell_type"] == "markdown":
            self.heading = (_HEADING.findall(text) or [self.heading])[-1]
            yield text
            return
        yield _block("python", text)
        for output in cell["outputs"]:
            yield self._shown(output)

    def _shown(self, output: Json) -> str:
        if output["output_type"] == "stream":
            return _output(_text(output["text"]))
        data = output.get("data", {})
        if "image/png" in data:
            return self._picture(base64.b64decode(_text(data["image/png"])))
        if "text/html" in data:
            return _table(_text(data["text/html"]))
        if "text/plain" in data:
            return _output(_text(data["text/plain"]))
        raise ValueError(f"{self.stem} shows {sorted(data) or output['output_type']}, which a page has no place for")

    def _picture(self, png: bytes) -> str:
        name = f"{self.stem}-{len(self.pictures) + 1}.png"
        self.pictures[name] = png
        return f"![What the cell draws: {self.heading}]({name}){{ .drawn }}"


def _text(parts: str | list[str]) -> str:
    return ("".join(parts) if isinstance(parts, list) else parts).strip("\n")


def _block(language: str, text: str) -> str:
    fence = "`" * max(3, 1 + max((len(found) for found in _BACKTICKS.findall(text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def _output(text: str) -> str:
    return _block(" { .text .output }", text)


def _table(html: str) -> str:
    """A table as the site styles its own; raises ValueError for other HTML, which would bring a style and scripts."""
    bare = "\n".join(line.strip() for line in _AROUND_TABLES.sub("", html).splitlines() if line.strip())
    table, _, below = bare.partition("</table>")
    if not table.startswith("<table>"):
        raise ValueError(f"only tables are shown as HTML, not {bare[:60]!r}")
    return f"{table}</table>"
