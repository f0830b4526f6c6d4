"""Compiled nodes of expression graphs, kept by what they say: the requests of one client differ in few constants.

A node is found by its kind and by its parts, which are nodes themselves, so two that say the same are one object. The
image of a node that is made of constants alone is kept with it: it is lazy and holds no pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from sandbox.errors import EarthEngineError
from sandbox.functions.kept import Kept
from sandbox.limits import Limits
from sandbox.raster.stored import Catalog

_MOST = 1024
_NONE: frozenset[str] = frozenset()
_NOTHING = object()


class Evaluation:
    """What the programs of one request share: `used` are the algorithms that were called."""

    def __init__(self, catalog: Catalog, limits: Limits) -> None:
        self.catalog, self._limits = catalog, limits
        self.used: set[str] = set()
        self.root = Frame({}, None, self)
        self._aggregations = 0

    def count_aggregation(self) -> None:
        """Count a call; raises EarthEngineError when there are more than the limit."""
        self._aggregations += 1
        most = self._limits.concurrent_aggregations
        if most is not None and self._aggregations > most:
            raise EarthEngineError("Too many concurrent aggregations.")

    def end(self) -> None:
        """Let go of all values: they refer to each other, and would wait for the garbage collector."""
        self.root.values.clear()
        del self.root


class Frame:
    """The arguments of a function call in a request, and the values that were computed with them, by program."""

    __slots__ = ("arguments", "parent", "request", "values")

    def __init__(self, arguments: dict[str, Any], parent: Frame | None, request: Evaluation) -> None:
        self.arguments, self.parent, self.request = arguments, parent, request
        self.values: dict[Program, Any] = {}

    def lookup(self, name: str) -> Any:
        frame: Frame | None = self
        while frame is not None:
            if name in frame.arguments:
                return frame.arguments[name]
            frame = frame.parent
        raise EarthEngineError(f"Unbound argument reference: '{name}'.")

    def owner(self, free: frozenset[str]) -> Frame:
        """The outermost frame that a value with these free argument names depends on."""
        frame = self
        while frame.parent is not None and free.isdisjoint(frame.arguments):
            frame = frame.parent
        return frame


Program = Callable[[Frame], Any]


class Node:
    """A node's program and the names of the arguments that its value depends on.

    `constant` is the value of a constant. `steady` are the algorithms of a node whose value is the same in every
    request and may be kept; None for all other nodes.
    """

    __slots__ = ("constant", "free", "run", "steady")

    def __init__(
        self,
        run: Program,
        free: frozenset[str] = _NONE,
        constant: Any = None,
        steady: frozenset[str] | None = None,
    ) -> None:
        self.run, self.free, self.constant, self.steady = run, free, constant, steady


@dataclass(frozen=True, eq=False)
class Function:
    """A function of the graph with the frame that it closes over."""

    names: tuple[str, ...]
    body: Program
    frame: Frame
    keeps: Kept

    def __call__(self, *arguments: Any) -> Any:
        return self.named(dict(zip(self.names, arguments, strict=False)))

    def named(self, arguments: dict[str, Any]) -> Any:
        """The result for arguments by their names."""
        return self.body(Frame(arguments, self.frame, self.frame.request))


class Programs:
    """The nodes of the latest requests to one catalogue; those that are asked for again stay."""

    def __init__(self) -> None:
        self._young: dict[Hashable, Node] = {}
        self._old: dict[Hashable, Node] = {}

    def node(self, key: Hashable, make: Callable[[], Node]) -> Node:
        """The node that was made for an equal key, or a new one."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key) or make()
            if len(self._young) >= _MOST:
                self._old, self._young = self._young, {}
            self._young[key] = found
        return found


def refusal(message: str) -> Program:
    """A program that fails only when it is run: a branch that is not taken must not fail."""

    def fail(frame: Frame) -> Any:
        raise EarthEngineError(message)

    return fail


def constant(value: Any) -> Node:
    """A node of one value."""
    return Node(lambda frame: value, _NONE, value, _NONE)


def of_parts(run: Program, parts: Iterable[Node], steady: frozenset[str] | None = None) -> Node:
    """A node that depends on what its parts depend on, steady where they are; `steady` are its own algorithms."""
    free = _NONE
    for part in parts:
        if part.free:
            free = free | part.free
        steady = None if steady is None or part.steady is None else steady | part.steady
    return Node(run if steady is None else _Kept(run, steady), free, None, steady)


def once(node: Node) -> Node:
    """The node, with a program that runs once in the outermost frame that its value depends on."""
    make, free = node.run, node.free
    if isinstance(make, _Kept):
        return node

    def at_root(frame: Frame) -> Any:
        root = frame.request.root
        if make not in root.values:
            root.values[make] = make(root)
        return root.values[make]

    def at_owner(frame: Frame) -> Any:
        owner = frame.owner(free)
        if make not in owner.values:
            owner.values[make] = make(owner)
        return owner.values[make]

    return Node(at_owner if free else at_root, free, node.constant, node.steady)


class _Kept:
    """A program whose value is the same in every request, and is computed once."""

    __slots__ = ("_algorithms", "_make", "_value")

    def __init__(self, make: Program, algorithms: frozenset[str]) -> None:
        self._make, self._algorithms, self._value = make, algorithms, _NOTHING

    def __call__(self, frame: Frame) -> Any:
        if self._value is _NOTHING:
            self._value = self._make(frame)
        else:
            frame.request.used.update(self._algorithms)
        return self._value
