"""A page of scores that needs nothing but itself: charts inside, no script, light or dark as the reader has it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import jinja2

from exporters.scores.chart import Chart, svg_of
from exporters.scores.table import Table
from pipeline import durable

_TEMPLATE = "page.html.jinja"


@dataclass(frozen=True)
class Section:
    """A part of the page: a `lead` below its `title`, a chart if it has one, tables, and tables that are folded."""

    title: str
    lead: str = ""
    chart: Chart | None = None
    tables: tuple[Table, ...] = ()
    folded: tuple[Table, ...] = ()

    @property
    def picture(self) -> str:
        """The chart as an address with all of its data."""
        return (
            f"data:image/svg+xml;base64,{base64.b64encode(svg_of(self.chart).encode()).decode()}" if self.chart else ""
        )


def write_page(path: Path, title: str, lead: str, sections: tuple[Section, ...], command: str) -> None:
    """Publish the page; equal contents give equal bytes. `command` wrote it. Raises `Unwritable`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    page = environment.get_template(_TEMPLATE)
    durable.write_text(path, page.render(title=title, lead=lead, sections=sections, command=command))
