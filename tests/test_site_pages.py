"""The documentation's hook: links of the repository become links of the site, and API pages hold every module."""

from __future__ import annotations

import pytest

site_pages = pytest.importorskip("site_pages", reason="needs `make docs`", exc_type=ImportError)

DOOR = '''
"""The door."""
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline import errors
    from pipeline.grid import Grid
    from training.evaluate.probed import probe_layer as probe
    from sampling.sample import Hidden

__all__ = ["Grid", "errors", "probe"]
_NAMES = {
    "training.evaluate.probed": ("probe",),
    "pipeline.grid": ("Grid",),
    "pipeline.errors": (),
}
'''


@pytest.mark.parametrize(
    ("uri", "link", "expected"),
    [
        ("index.md", "docs/export.md", "export.md"),
        ("index.md", "docs/pictures/chips.png", "pictures/chips.png"),
        ("index.md", "benchmarks/README.md", "benchmarks.md"),
        ("export.md", "../benchmarks/README.md#pull", "benchmarks.md#pull"),
        ("export.md", "quality.md", "quality.md"),
        ("export.md", "../README.md", "index.md"),
        ("benchmarks.md", "../docs/training.md", "training.md"),
        ("changelog.md", "docs/doctor.md", "doctor.md"),
        ("contributing.md", "#rules", "#rules"),
        ("index.md", "https://example.org/docs/export.md", "https://example.org/docs/export.md"),
        ("index.md", "pyproject.toml", "pyproject.toml"),
    ],
)
def test_links_lead_to_the_same_page(uri: str, link: str, expected: str) -> None:
    assert site_pages.for_site(f"See [`it` [here]]({link}), ![a picture]({link}).", uri) == (
        f"See [`it` [here]]({expected}), ![a picture]({expected})."
    )


def test_code_is_left_alone() -> None:
    text = "[a](docs/export.md)\n```python\nx = values[0](docs/export.md)\n```\n[b](docs/report.md)\n"
    assert site_pages.for_site(text, "index.md") == text.replace("[a](docs/", "[a](").replace("[b](docs/", "[b](")


def test_public_names_come_in_the_order_of_the_table() -> None:
    assert site_pages.public_names(DOOR) == ["probe", "Grid", "errors"]


def test_every_module_is_on_one_page() -> None:
    pages = site_pages.api_pages()
    named = [line[4:] for page in pages.values() for line in page.splitlines() if line.startswith("::: ")]
    modules = {
        name for name in site_pages.read_modules() if not name.endswith(".*") and not name.startswith("geocorpus")
    }
    assert modules <= set(named)
    assert len(named) == len(set(named))


def test_what_a_browser_would_fetch_elsewhere_is_found() -> None:
    html = (
        '<script src="https://cdn.example/a.js"></script><link rel="stylesheet" href=//fonts.example/b.css>'
        '<a href="https://example.org">x</a><link rel="canonical" href="https://example.org/"><img src="c.png">'
    )
    assert site_pages.loaded_from_elsewhere(html) == ["https://cdn.example/a.js", "//fonts.example/b.css"]
