"""Evaluates the expression graphs that the client sends: values by reference, functions, invocations.

Each node is compiled into a program once, with constant arguments already converted; a mapped function runs its
program for each element. A value that does not depend on a function's argument is computed once per request, so
shared nodes cost nothing. Arguments are checked and converted to the types of the published signatures.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sandbox.client_files import signatures
from sandbox.errors import EarthEngineError, too_deep
from sandbox.functions import algorithms  # noqa: F401  (registers every algorithm)
from sandbox.functions.coercion import coerced
from sandbox.functions.kept import Kept
from sandbox.limits import KIND, Limits
from sandbox.raster.stored import Catalog
from sandbox.registry import NEEDS_CATALOG, REGISTRY

_MAX_DEPTH = 500  # nested invocations; Earth Engine itself allows about a hundred
_PYTHON_FRAMES = 30_000  # enough to compile such a graph and to compute its pixels
_NONE: frozenset[str] = frozenset()
_AGGREGATIONS = ("Image.reduceRegion", "Image.reduceRegions", "Collection.reduceColumns")
_AGGREGATIONS_OF_TABLES = "AggregateFeatureCollection."


def is_aggregation(name: str) -> bool:
    """Whether a call of this algorithm counts against `Limits.concurrent_aggregations`.

    Documented is only that reductions which are spread over machines are limited (guides/debugging, "Too many
    concurrent aggregations"); reported are `reduceRegion` mapped over images (WGAST#2, mangrove-atlas#1522) and
    `reduceRegions` over many zones (geemap#1309). Assumed: every call counts alike and all of a request run at the same
    time; `reduceRegions` is one; `aggregate_*` and `reduceColumns` count; `size` and `toList` do not.
    """
    return name in _AGGREGATIONS or name.startswith(_AGGREGATIONS_OF_TABLES)


class Frame:
    """The arguments of a function call, and the values computed with them."""

    __slots__ = ("arguments", "parent", "values")

    def __init__(self, arguments: dict[str, Any], parent: Frame | None) -> None:
        self.arguments, self.parent = arguments, parent
        self.values: dict[str, Any] = {}

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


@dataclass(frozen=True)
class Node:
    """A node's program and the names of the arguments that its value depends on."""

    run: Program
    free: frozenset[str] = _NONE


@dataclass(frozen=True)
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
        return self.body(Frame(arguments, self.frame))


def _refusal(message: str) -> Program:
    """A program that fails only when it is run: a branch that is not taken must not fail."""

    def fail(frame: Frame) -> Any:
        raise EarthEngineError(message)

    return fail


def _joined(nodes: list[Node]) -> frozenset[str]:
    free = _NONE
    for node in nodes:
        free = free | node.free
    return free


class Evaluator:
    """Evaluates one expression; not shared between requests."""

    def __init__(self, expression: Mapping[str, Any], catalog: Catalog, limits: Limits = KIND) -> None:
        self._values: Mapping[str, Any] = expression.get("values", {})
        self._result = expression.get("result")
        self._catalog = catalog
        self._limits = limits
        self._root = Frame({}, None)
        self._named: dict[str, Node] = {}
        self._depth = 0
        self._aggregations = 0
        self.used: set[str] = set()

    def run(self) -> Any:
        """The value of the expression's result.

        Raises EarthEngineError, QueryTooLarge or RecursionError when it cannot be computed.
        """
        sys.setrecursionlimit(max(sys.getrecursionlimit(), _PYTHON_FRAMES))
        if not isinstance(self._result, str):
            raise EarthEngineError("Invalid JSON payload received: the expression has no result.")
        return self._reference(self._result).run(self._root)

    def _reference(self, key: str) -> Node:
        """A named value, computed once in the outermost frame that it depends on."""
        if key not in self._named:
            if key not in self._values:
                return Node(_refusal(f"Value reference '{key}' not found in the expression."))
            # Graphs should be acyclic. This entry ends the compilation of a cyclic one, which is then too deep to run.
            self._named[key] = Node(lambda frame: self._named[key].run(frame))
            node = self._node(self._values[key])
            self._named[key] = Node(self._once(key, node), node.free)
        return self._named[key]

    def _once(self, key: str, node: Node) -> Program:
        make, free, root = node.run, node.free, self._root

        def at_root(frame: Frame) -> Any:
            if key not in root.values:
                root.values[key] = make(root)
            return root.values[key]

        def at_owner(frame: Frame) -> Any:
            owner = frame.owner(free)
            if key not in owner.values:
                owner.values[key] = make(owner)
            return owner.values[key]

        return at_owner if free else at_root

    def _node(self, node: Mapping[str, Any]) -> Node:
        for kind, value in node.items():
            if kind in _KINDS:
                return _KINDS[kind](self, value)
        raise EarthEngineError(f"Invalid JSON payload received: unknown value node {sorted(node)}.")

    def _constant(self, value: Any) -> Node:
        return Node(lambda frame: value)

    def _integer(self, value: Any) -> Node:
        return self._constant(int(value))

    def _array(self, value: Mapping[str, Any]) -> Node:
        items = [self._node(item) for item in value.get("values", [])]
        programs = [item.run for item in items]
        return Node(lambda frame: [run(frame) for run in programs], _joined(items))

    def _dictionary(self, value: Mapping[str, Any]) -> Node:
        items = {key: self._node(item) for key, item in value.get("values", {}).items()}
        programs = [(key, item.run) for key, item in items.items()]
        return Node(lambda frame: {key: run(frame) for key, run in programs}, _joined(list(items.values())))

    def _argument(self, name: str) -> Node:
        return Node(lambda frame: frame.lookup(name), frozenset((name,)))

    def _definition(self, value: Mapping[str, Any]) -> Node:
        names, body = tuple(value.get("argumentNames", ())), self._reference(value["body"])
        keeps = Kept(self._values, names[0] if names else "", {"valueReference": value["body"]})
        return Node(lambda frame: Function(names, body.run, frame, keeps), body.free - set(names))

    def _invocation(self, value: Mapping[str, Any]) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise too_deep()
        written = value.get("arguments", {})
        given = {key: self._node(node) for key, node in written.items()}
        self._depth -= 1
        if "functionReference" in value:
            return self._application(self._reference(value["functionReference"]), given)
        return Node(self._call(value["functionName"], given, written), _joined(list(given.values())))

    def _application(self, function: Node, given: Mapping[str, Node]) -> Node:
        def call(frame: Frame) -> Any:
            return function.run(frame).named({name: node.run(frame) for name, node in given.items()})

        return Node(call, _joined([function, *given.values()]))

    def _call(self, name: str, given: Mapping[str, Node], nodes: Mapping[str, Any]) -> Program:
        """A program that calls one algorithm with its argument nodes."""
        if name not in REGISTRY:
            return _refusal(_unknown(name))
        if name == "If":
            return self._if(given)
        parameters = _parameters(name)
        unknown = given.keys() - parameters.keys()
        if unknown:
            return _refusal(f"{name}: Unrecognized argument '{sorted(unknown)[0]}'.")
        arguments = [_argument(name, item, given.get(item.name), nodes.get(item.name)) for item in parameters.values()]
        return self._calling(name, arguments)

    def _calling(self, name: str, arguments: list[Fixed | Program]) -> Program:
        implementation, used = REGISTRY[name], self.used
        fixed = [item.value if isinstance(item, Fixed) else None for item in arguments]
        varying = [(index, item) for index, item in enumerate(arguments) if not isinstance(item, Fixed)]
        first = [self._catalog] if name in NEEDS_CATALOG else []
        count = self._count_aggregation if is_aggregation(name) else None

        def call(frame: Frame) -> Any:
            used.add(name)
            if count is not None:
                count()
            values = fixed.copy()
            for index, run in varying:
                values[index] = run(frame)
            return implementation(*first, *values)

        return call

    def _count_aggregation(self) -> None:
        self._aggregations += 1
        most = self._limits.concurrent_aggregations
        if most is not None and self._aggregations > most:
            raise EarthEngineError("Too many concurrent aggregations.")

    def _if(self, given: Mapping[str, Node]) -> Program:
        nothing = Node(lambda frame: None)
        condition, yes, no = (given.get(key, nothing).run for key in ("condition", "trueCase", "falseCase"))

        def choose(frame: Frame) -> Any:
            self.used.add("If")
            return yes(frame) if condition(frame) else no(frame)

        return choose


_KINDS: dict[str, Callable[[Evaluator, Any], Node]] = {
    "constantValue": Evaluator._constant,
    "functionInvocationValue": Evaluator._invocation,
    "valueReference": Evaluator._reference,
    "argumentReference": Evaluator._argument,
    "arrayValue": Evaluator._array,
    "dictionaryValue": Evaluator._dictionary,
    "integerValue": Evaluator._integer,
    "functionDefinitionValue": Evaluator._definition,
    "bytesValue": Evaluator._constant,
}


@dataclass(frozen=True)
class Fixed:
    """An argument that is the same for each call, already converted."""

    value: Any


@dataclass(frozen=True)
class Parameter:
    """One argument of a published signature."""

    name: str
    declared: str
    optional: bool
    default: Any


def _argument(name: str, parameter: Parameter, node: Node | None, written: Any) -> Fixed | Program:
    """An argument of algorithm `name`; only constants of immutable types are converted in advance."""
    constant = written.get("constantValue") if isinstance(written, dict) else None
    if node is None or isinstance(constant, (str, bool, int, float)):
        try:
            return Fixed(_checked(name, parameter, constant))
        except EarthEngineError as error:
            return _refusal(str(error))
    run = node.run
    return lambda frame: _checked(name, parameter, run(frame))


def _checked(name: str, parameter: Parameter, value: Any) -> Any:
    """The value converted to its declared type, or the default."""
    if value is None:
        if not parameter.optional:
            raise EarthEngineError(f"{name}: Parameter '{parameter.name}' is required and may not be null.")
        value = parameter.default
    return value if value is None else coerced(value, parameter.declared, name, parameter.name)


@cache
def _parameters(name: str) -> dict[str, Parameter]:
    """An algorithm's parameters by name, in the order of its signature."""
    result = signatures()[name].get("arguments", [])
    return {
        item["argumentName"]: Parameter(
            item["argumentName"], item["type"], bool(item.get("optional")), item.get("defaultValue")
        )
        for item in result
    }


def _unknown(name: str) -> str:
    if name in signatures():
        return f"The sandbox does not implement the algorithm '{name}'."
    return f"Unknown algorithm: '{name}'."
