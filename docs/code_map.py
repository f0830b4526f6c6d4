"""The code as the documentation shows it: packages, rooms, modules and who imports whom, read from the files."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parent.parent
# The door first, then from what a user starts down to what everything stands on.
PACKAGES = ("geocorpus", "flows", "sampling", "exporters", "training", "pipeline", "sandbox")
DOOR = "geocorpus"
Node = TypeVar("Node")


@dataclass(frozen=True)
class Module:
    """A source file: its dotted name, the first sentence of its docstring, and the names of ours that it imports."""

    name: str
    purpose: str
    imports: frozenset[str]

    @property
    def room(self) -> str:
        """The package, or the sub-package of it, that the file lies in."""
        return ".".join(self.name.split(".")[:2]) if self.name.count(".") > 1 else self.name.split(".")[0]


def read_modules(root: Path = ROOT) -> dict[str, Module]:
    """Every module of the packages under `root` by name. A package's `__init__` has the name of its folder and `.*`."""
    files = {_name(path, root): path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))}
    known = {name.removesuffix(".*"): name for name in files}
    return {name: _module(name, path, known) for name, path in files.items()}


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join((*parts[:-1], "*") if parts[-1] == "__init__" else parts)


def _module(name: str, path: Path, known: Mapping[str, str]) -> Module:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {known[text] for text in _imported(tree, known)}
    if name == f"{DOOR}.*":
        imported |= {known[text] for text in _texts(tree) if text in known}
    return Module(name, first_sentence(ast.get_docstring(tree) or ""), frozenset(imported - {name}))


def _imported(tree: ast.AST, known: Collection[str]) -> Iterator[str]:
    """Names among `known` that are imported, wherever in the file; `from a import b` is of `a.b` where that exists."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield from [name for name in (f"{node.module}.{alias.name}", node.module) if name in known][:1]


def _texts(tree: ast.AST) -> Iterator[str]:
    """Words of the texts in a file: the door names the modules that it imports later as text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from node.value.replace(":", " ").split()


def first_sentence(docstring: str) -> str:
    """The first paragraph of a docstring up to its first full stop or colon that a space follows."""
    text = " ".join(docstring.split("\n\n")[0].split())
    return text.split(". ")[0].rstrip(".")


def rooms_of(package: str, modules: Mapping[str, Module]) -> dict[str, list[Module]]:
    """Modules of a package by room; files without code of their own (`__init__`) count where they import something."""
    rooms: dict[str, list[Module]] = {}
    for module in modules.values():
        if module.name.split(".")[0] == package and (not module.name.endswith(".*") or module.imports):
            rooms.setdefault(module.room, []).append(module)
    return rooms


def edges(modules: Mapping[str, Module], depth: int) -> dict[tuple[str, str], int]:
    """How many imports run from one room to another; with a `depth` of 1 from package to package, with 2 by room."""
    counts: dict[tuple[str, str], int] = {}
    for module in modules.values():
        for name in module.imports:
            pair = _cut(module.room, depth), _cut(modules[name].room, depth)
            if pair[0] != pair[1]:
                counts[pair] = counts.get(pair, 0) + 1
    return counts


def _cut(room: str, depth: int) -> str:
    return ".".join(room.split(".")[:depth])


def importers_first(nodes: Collection[Node], counts: Mapping[tuple[Node, Node], int]) -> list[Node]:
    """`nodes` in an order in which whoever imports comes before what is imported, else as given.

    In a circle the one that is imported least goes first, so that there is always an order.
    """
    left, order = list(nodes), []
    while left:
        pairs = [pair for pair in counts if pair[0] in left and pair[0] != pair[1]]
        order.append(min(left, key=lambda node: sum(counts[pair] for pair in pairs if pair[1] == node)))
        left.remove(order[-1])
    return order
