"""A hook of MkDocs: pages from outside of docs/ (notebooks too), an API page for each room, and links between them all.

README and the others are shown from where they are, so their links are those of the repository. On the site a link to
a page leads to that page; one to anything else in the repository is a warning, and the build fails.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from code_map import DOOR, PACKAGES, ROOT, Module, importers_first, read_modules, rooms_of
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from notebook_pages import NotebookPage

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

log = get_plugin_logger("site_pages")
OUTSIDE = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "benchmarks.md": "benchmarks/README.md",
    **{f"notebooks/{path.stem}.md": f"notebooks/{path.name}" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))},
}
LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b(?![^>]*\brel=["']?(?:canonical|next|prev)\b)[^>]*?\bhref=["']?((?:https?:)?//[^"'\s>]+)"""
)
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^)\s]+)")
FENCE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the navigation's API part."""
    config.nav = [{"API": list(_api_nav())} if "API" in entry else entry for entry in config.nav or []]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    for uri, path in OUTSIDE.items():
        for name, content in _from_outside(uri, ROOT / path).items():
            files.append(File.generated(config, name, content=content))
    for uri, content in api_pages().items():
        files.append(File.generated(config, uri, content=content))
    return files


def _from_outside(uri: str, path: Path) -> dict[str, str | bytes]:
    """The page at `uri`, and the pictures beside it that a notebook holds."""
    if path.suffix != ".ipynb":
        return {uri: path.read_text(encoding="utf-8")}
    page, folder = NotebookPage.of(path), posixpath.dirname(uri)
    return {uri: page.markdown, **{posixpath.join(folder, name): png for name, png in page.pictures.items()}}


def on_page_markdown(markdown: str, page: Page, **_more: Any) -> str:
    """Point the repository's links at the site's pages."""
    uri = page.file.src_uri
    return markdown if uri.startswith("api/") else for_site(markdown, uri)


def on_post_page(output: str, page: Page, **_more: Any) -> str:
    """Warn, so that the build fails, of a page that would load anything from another host."""
    for address in loaded_from_elsewhere(output):
        log.warning("%s loads %s from another host", page.file.src_uri, address)
    return output


def loaded_from_elsewhere(html: str) -> list[str]:
    """Addresses on other hosts that a browser would fetch by itself; what a person may click on is none of them."""
    return [found for pair in LOADED.findall(html) for found in pair if found]


def for_site(markdown: str, uri: str) -> str:
    """`markdown` of the page at `uri` with links between pages as the site has them; blocks of code stay."""
    linked = [LINK.sub(lambda link: link[1] + _target(link[2], uri), part) for part in FENCE.split(markdown)[::2]]
    blocks = FENCE.findall(markdown)
    return "".join(text for pair in zip_longest(linked, blocks, fillvalue="") for text in pair)


def _target(link: str, uri: str) -> str:
    """Where a link of the repository leads on the site; what is no page of it stays as it is."""
    path, mark, anchor = link.partition("#")
    if not path or ":" in path:
        return link
    source = OUTSIDE.get(uri, f"docs/{uri}")
    there = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    pages = {shown: page for page, shown in OUTSIDE.items()}
    page = pages.get(there) or (there.removeprefix("docs/") if there.startswith("docs/") else None)
    return link if page is None else posixpath.relpath(page, posixpath.dirname(uri) or ".") + mark + anchor


def _api_nav() -> Iterator[str | dict[str, Any]]:
    modules = read_modules()
    yield "api/index.md"
    for package in PACKAGES:
        rooms = [room for room in rooms_of(package, modules)]
        if package == DOOR and rooms:
            yield {DOOR: f"api/{DOOR}.md"}
        elif len(rooms) == 1:
            yield {package: f"api/{package}.md"}
        elif rooms:
            yield {package: [_entry(room) for room in sorted(rooms)]}


def _entry(room: str) -> dict[str, str]:
    return {room.partition(".")[2] or "the package itself": f"api/{room}.md"}


def api_pages() -> dict[str, str]:
    """Markdown of every API page by its address: an overview, and one for each package or room."""
    modules = read_modules()
    pages = {"api/index.md": _overview(modules)}
    for package in PACKAGES:
        for room, members in rooms_of(package, modules).items():
            page = _door_page(modules) if package == DOOR else _room_page(room, members, modules)
            pages[f"api/{room}.md"] = page
    return pages


def _overview(modules: dict[str, Module]) -> str:
    lines = ["# API", "", "Made from the docstrings. Begin with the first; the others are what it is made of.", ""]
    for package in PACKAGES:
        rooms = sorted(rooms_of(package, modules))
        if rooms:
            lines += [f"## {package}", "", f"{modules[f'{package}.*'].purpose}.", ""]
        lines += [f"- [`{room}`]({room}.md): {_purpose(room, modules)}" for room in rooms]
        lines.append("")
    return "\n".join(lines)


def _purpose(room: str, modules: dict[str, Module]) -> str:
    init = modules.get(f"{room}.*")
    return init.purpose if init and "." in room else "the modules beside its rooms" if "." not in room else ""


def _room_page(room: str, members: list[Module], modules: dict[str, Module]) -> str:
    """A room's modules, each behind those that it imports, so that the page can be read from the top."""
    names = sorted(module.name for module in members if not module.name.endswith(".*"))
    inside = {
        pair: 1 for module in members for name in module.imports if name in names for pair in [(module.name, name)]
    }
    order = reversed(importers_first(names[::-1], inside))
    purpose = modules[f"{room}.*"].purpose
    parts = [f"# {room}", "", f"{purpose}.", ""]
    for name in order:
        parts += [f"::: {name}", ""]
    return "\n".join(parts)


def _door_page(modules: dict[str, Module]) -> str:
    """The public names, each documented where it is written."""
    names = public_names((ROOT / DOOR / "__init__.py").read_text(encoding="utf-8"))
    listed = [f"{name}" for name in names]
    parts = [
        f"# {DOOR}",
        "",
        f"{modules[f'{DOOR}.*'].purpose}.",
        "",
        ", ".join(f"[`{n}`][{DOOR}.{n}]" for n in listed),
        "",
    ]
    for name in names:
        parts += [f"::: {DOOR}.{name}", ""]
    return "\n".join(parts)


def public_names(door: str) -> list[str]:
    """What `__all__` of the door's source holds, in the order in which its table names the modules they come from."""
    tree = ast.parse(door)
    lines = {node.value: node.lineno for node in ast.walk(tree) if isinstance(node, ast.Constant) and node.value}
    homes: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            homes |= {alias.asname or alias.name: node.module for alias in node.names}

    def line(name: str) -> int:
        return lines.get(homes[name], 0) or lines.get(f"{homes[name]}.{name}", 0)

    return sorted(homes.keys() & _exported(tree), key=lambda name: (line(name), name))


def _exported(tree: ast.Module) -> set[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return set(ast.literal_eval(node.value))
    return set()
