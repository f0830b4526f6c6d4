"""Draws rooms and imports from the code into docs/pictures/ and the tables of docs/architecture.md; `--check` compares.

A picture has a row for each room. The line that leaves a room turns down at each dot into a room that it imports, so
lines run right and down; one that runs up would be part of a circle, and is red.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping
from html import escape
from pathlib import Path

from code_map import DOOR, PACKAGES, ROOT, Module, edges, importers_first, read_modules, rooms_of

PICTURES = Path("docs/pictures")
PAGE = Path("docs/architecture.md")
ROW, COLUMN, BOX, LABEL = 44, 44, 30, 172
MARGIN = 12
STYLE = """
  .ground { fill: #fbfbf8 }
  .box { fill: #e4ece6; stroke: #7f9c8b; stroke-width: 1 }
  .name { font: 600 14px system-ui, sans-serif; fill: #22332b }
  .files { font: 11px system-ui, sans-serif; fill: #5d6f66 }
  .line { fill: none; stroke: #8fa398; stroke-width: 1.4 }
  .dot { fill: #3f6b55 }
  .circle { stroke: #c0392b; fill: #c0392b }
""".strip("\n")
# A folder of one kind of file that its package lists, and no room of its own: its files are the package's.
LISTED = {"exporters.modalities": "exporters"}
Counts = Mapping[tuple[str, str], int]


def drawn(order: list[str], counts: Counts, files: Mapping[str, int], title: str) -> str:
    """The picture as SVG; `order` has importers first, `counts` imports by (importer, imported)."""
    width = MARGIN * 2 + LABEL + COLUMN * (len(order) - 1)
    height = MARGIN * 2 + ROW * (len(order) - 1) + BOX
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{STYLE}\n</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#8fa398"/></marker></defs>',
        f'<rect class="ground" width="{width}" height="{height}" rx="8"/>',
    ]
    place = {room: index for index, room in enumerate(order)}
    parts += [_down(room, place, counts) for room in order] + [_right(room, place, counts) for room in order]
    parts += [_box(room, place[room], files[room]) for room in order]
    parts += [_dot(importer, imported, place, count) for (importer, imported), count in sorted(counts.items())]
    return "\n".join([part for part in parts if part] + ["</svg>", ""])


def _edge_x(index: int) -> int:
    """Right edge of the box of a row."""
    return MARGIN + LABEL + COLUMN * index


def _column_x(index: int) -> int:
    """Where the line comes down into the box of a row."""
    return _edge_x(index) - COLUMN // 2


def _top(index: int) -> int:
    return MARGIN + ROW * index


def _middle(index: int) -> int:
    return _top(index) + BOX // 2


def _right(room: str, place: Mapping[str, int], counts: Counts) -> str:
    """The line that leaves a room, as far as the last one that it imports."""
    to = [_column_x(place[imported]) for importer, imported in counts if importer == room]
    if not to:
        return ""
    return f'<path class="line" d="M{min([_edge_x(place[room]), *to])} {_middle(place[room])} H{max(to)}"/>'


def _down(room: str, place: Mapping[str, int], counts: Counts) -> str:
    """The line that comes into a room, from the first row that imports it; from below where there is a circle."""
    rows = [place[importer] for importer, imported in counts if imported == room]
    x, above, below = _column_x(place[room]), [r for r in rows if r < place[room]], [r for r in rows if r > place[room]]
    lines = []
    if above:
        head = f'M{x} {_middle(min(above))} V{_top(place[room]) - 1}"'
        lines.append(f'<path class="line" marker-end="url(#head)" d="{head}/>')
    if below:
        lines.append(f'<path class="line circle" d="M{x} {_middle(max(below))} V{_top(place[room]) + BOX}"/>')
    return "\n".join(lines)


def _box(room: str, index: int, files: int) -> str:
    x, y = MARGIN + COLUMN * index, _top(index)
    name = room.split(".")[-1]
    own = "" if "." in room else "/"
    return (
        f'<rect class="box" x="{x}" y="{y}" width="{LABEL}" height="{BOX}" rx="6"/>'
        f'<text class="name" x="{x + 10}" y="{y + 20}">{escape(name + own)}</text>'
        f'<text class="files" x="{x + LABEL - 8}" y="{y + 20}" text-anchor="end">{files} files</text>'
    )


def _dot(importer: str, imported: str, place: Mapping[str, int], count: int) -> str:
    kind = "dot" if place[importer] < place[imported] else "dot circle"
    said = f"{importer} imports {imported}: {count} {'import' if count == 1 else 'imports'}"
    x, y = _column_x(place[imported]), _middle(place[importer])
    return f'<circle class="{kind}" cx="{x}" cy="{y}" r="4"><title>{escape(said)}</title></circle>'


def picture_of_packages(modules: Mapping[str, Module]) -> str:
    """All packages, and which imports which."""
    counts = edges(modules, depth=1)
    files = {package: sum(map(len, rooms_of(package, modules).values())) for package in PACKAGES}
    there = [package for package in PACKAGES if files[package]]
    return drawn(importers_first(there, counts), counts, files, "The packages and their imports")


def picture_of_rooms(package: str, modules: Mapping[str, Module]) -> str:
    """The rooms of one package, the files beside them included, and which imports which."""
    files: Counter[str] = Counter()
    for room, members in rooms_of(package, modules).items():
        files[LISTED.get(room, room)] += len(members)
    counts = _between(set(files), modules)
    order = importers_first(sorted(files), counts)
    return drawn(order, counts, files, f"The rooms of {package}/ and their imports")


def _between(rooms: set[str], modules: Mapping[str, Module]) -> Counts:
    """Imports from one to another of these rooms, with folders that are listed counted to their package."""
    counts: Counter[tuple[str, str]] = Counter()
    for (importer, imported), count in edges(modules, depth=2).items():
        counts[LISTED.get(importer, importer), LISTED.get(imported, imported)] += count
    return {pair: count for pair, count in counts.items() if set(pair) <= rooms and pair[0] != pair[1]}


def table_of_rooms(package: str, modules: Mapping[str, Module]) -> str:
    """A line of Markdown for each room: its name, how many files, and what its docstring says it is for."""
    lines = ["| room | files | what it is for |", "|---|---|---|"]
    for room, members in sorted(rooms_of(package, modules).items()):
        what = "what the rooms share, and what joins them" if room == package else modules[f"{room}.*"].purpose
        lines.append(f"| `{room.replace('.', '/')}/` | {len(members)} | {what} |")
    return "\n".join(lines)


def with_tables(page: str, modules: Mapping[str, Module]) -> str:
    """The page with what stands between its markers made anew."""
    for package in PACKAGES:
        begin, end = f"<!-- rooms of {package} -->", f"<!-- end of {package} -->"
        if begin in page:
            before, rest = page.split(begin, 1)
            page = f"{before}{begin}\n\n{table_of_rooms(package, modules)}\n\n{end}{rest.split(end, 1)[1]}"
    return page


def everything(root: Path = ROOT) -> dict[Path, str]:
    """What each drawn file must hold, by its path below `root`."""
    modules = read_modules(root)
    roomy = [package for package in PACKAGES if package != DOOR and len(rooms_of(package, modules)) > 1]
    pictures = {PICTURES / f"rooms-{package}.svg": picture_of_rooms(package, modules) for package in roomy}
    page = with_tables((root / PAGE).read_text(encoding="utf-8"), modules)
    return {PICTURES / "packages.svg": picture_of_packages(modules), **pictures, PAGE: page}


def stale(root: Path = ROOT) -> list[Path]:
    """Drawn files that are not what the code gives."""
    return [
        path
        for path, text in everything(root).items()
        if not (root / path).exists() or (root / path).read_text(encoding="utf-8") != text
    ]


def main() -> None:
    """Write what changed; with `--check` write nothing and end with code 1 if something would."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; end with code 1 where a file is stale")
    changed = stale()
    if parser.parse_args().check:
        for path in changed:
            print(f"{path} is not what the code gives; run `python docs/draw_architecture.py`.", file=sys.stderr)
        sys.exit(bool(changed))
    texts = everything()
    for path in changed:
        (ROOT / path).write_text(texts[path], encoding="utf-8")
        print(f"{path} is written")


if __name__ == "__main__":
    main()
