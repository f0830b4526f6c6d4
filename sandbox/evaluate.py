"""Evaluates the expression graphs that the client sends: values by reference, functions, invocations.

Each node is compiled into a program once, with constant arguments already converted; a mapped function runs its
program for each element. A value that does not depend on a function's argument is computed once per request, so
shared nodes cost nothing. Nodes that say the same share a program, also those of other requests (`programs`).
Arguments are checked and converted to the types of the published signatures.
"""

from __future__ import annotations

import marshal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sandbox.client_files import signatures
from sandbox.errors import EarthEngineError, too_deep
from sandbox.functions import algorithms  # noqa: F401  (registers every algorithm)
from sandbox.functions.coercion import Mismatch, conversion, mismatch
from sandbox.functions.kept import Kept
from sandbox.limits import KIND, Limits
from sandbox.programs import Evaluation, Frame, Function, Node, Program, Programs, constant, of_parts, once, refusal
from sandbox.raster.stored import Catalog
from sandbox.registry import NEEDS_CATALOG, REGISTRY

_MAX_DEPTH = 500  # nested invocations; Earth Engine itself allows about a hundred
_PYTHON_FRAMES = 30_000  # enough to compile such a graph and to compute its pixels
_NONE: frozenset[str] = frozenset()
_STEADY = ("Image<unknown bands>", "Projection", "Reducer")  # types of values that are lazy or small
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


class Evaluator:
    """Evaluates one expression; not shared between requests. `programs` are those of the catalogue's requests."""

    def __init__(
        self,
        expression: Mapping[str, Any],
        catalog: Catalog,
        limits: Limits = KIND,
        programs: Programs | None = None,
    ) -> None:
        self._values: Mapping[str, Any] = expression.get("values", {})
        self._result = expression.get("result")
        self.evaluation = Evaluation(catalog, limits)
        self._programs = programs or Programs()
        self._named: dict[str, Node] = {}
        self._depth = 0

    def run(self) -> Any:
        """The value of the expression's result.

        Raises EarthEngineError, QueryTooLarge or RecursionError when it cannot be computed.
        """
        sys.setrecursionlimit(max(sys.getrecursionlimit(), _PYTHON_FRAMES))
        if not isinstance(self._result, str):
            raise EarthEngineError("Invalid JSON payload received: the expression has no result.")
        return self._reference(self._result).run(self.evaluation.root)

    def _reference(self, key: str) -> Node:
        """A named value, computed once in the outermost frame that it depends on."""
        if key not in self._named:
            if key not in self._values:
                return Node(refusal(f"Value reference '{key}' not found in the expression."))
            # Graphs should be acyclic. This entry ends the compilation of a cyclic one, which is then too deep to run.
            self._named[key] = Node(lambda frame: self._named[key].run(frame))
            node = self._node(self._values[key])
            self._named[key] = self._programs.node((once, node), lambda: once(node))
        return self._named[key]

    def _node(self, node: Mapping[str, Any]) -> Node:
        for kind, value in node.items():
            if kind in _KINDS:
                return _KINDS[kind](self, value)
        raise EarthEngineError(f"Invalid JSON payload received: unknown value node {sorted(node)}.")

    def _constant(self, value: Any) -> Node:
        # As bytes, numbers of other types and the two zeros differ.
        return self._programs.node(marshal.dumps(value, 2), lambda: constant(value))

    def _integer(self, value: Any) -> Node:
        return self._constant(int(value))

    def _array(self, value: Mapping[str, Any]) -> Node:
        items = tuple(self._node(item) for item in value.get("values", []))
        return self._programs.node((list, items), lambda: _list(items))

    def _dictionary(self, value: Mapping[str, Any]) -> Node:
        items = tuple((key, self._node(item)) for key, item in value.get("values", {}).items())
        return self._programs.node((dict, items), lambda: _dictionary(items))

    def _argument(self, name: str) -> Node:
        return self._programs.node((Frame, name), lambda: Node(lambda frame: frame.lookup(name), frozenset((name,))))

    def _definition(self, value: Mapping[str, Any]) -> Node:
        names, body = tuple(value.get("argumentNames", ())), self._reference(value["body"])
        keeps = Kept(self._values, names[0] if names else "", {"valueReference": value["body"]})
        return self._programs.node(
            (Function, names, body),
            lambda: Node(lambda frame: Function(names, body.run, frame, keeps), body.free - set(names)),
        )

    def _invocation(self, value: Mapping[str, Any]) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise too_deep()
        given = tuple((key, self._node(node)) for key, node in value.get("arguments", {}).items())
        self._depth -= 1
        if "functionReference" in value:
            function = self._reference(value["functionReference"])
            return self._programs.node((function, given), lambda: _application(function, given))
        name = value["functionName"]
        return self._programs.node((name, given), lambda: _call(name, dict(given)))


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


def _list(items: Sequence[Node]) -> Node:
    programs = [item.run for item in items]
    return of_parts(lambda frame: [run(frame) for run in programs], items, _NONE)


def _dictionary(items: Sequence[tuple[str, Node]]) -> Node:
    programs = [(key, item.run) for key, item in items]
    return of_parts(lambda frame: {key: run(frame) for key, run in programs}, [item for _, item in items], _NONE)


def _application(function: Node, given: Sequence[tuple[str, Node]]) -> Node:
    def call(frame: Frame) -> Any:
        return function.run(frame).named({name: node.run(frame) for name, node in given})

    return of_parts(call, [function, *(node for _, node in given)])


def _call(name: str, given: Mapping[str, Node]) -> Node:
    """A node that calls one algorithm with its argument nodes."""
    if name not in REGISTRY:
        return of_parts(refusal(_unknown(name)), given.values())
    if name == "If":
        return of_parts(_if(given), given.values())
    parameters = _parameters(name)
    unknown = given.keys() - parameters.keys()
    if unknown:
        return of_parts(refusal(f"{name}: Unrecognized argument '{sorted(unknown)[0]}'."), given.values())
    arguments = [_argument(item, given.get(item.name)) for item in parameters.values()]
    own = frozenset((name,)) if signatures()[name].get("returnType") in _STEADY else None
    return of_parts(_calling(name, arguments), given.values(), own)


def _calling(name: str, arguments: list[Fixed | Program]) -> Program:
    implementation, is_counted, needs_catalog = REGISTRY[name], is_aggregation(name), name in NEEDS_CATALOG
    fixed = [item.value if isinstance(item, Fixed) else None for item in arguments]
    varying = [(index, item) for index, item in enumerate(arguments) if not isinstance(item, Fixed)]

    def call(frame: Frame) -> Any:
        request = frame.request
        request.used.add(name)
        if is_counted:
            request.count_aggregation()
        values = fixed.copy()
        for index, run in varying:
            values[index] = run(frame)
        return implementation(request.catalog, *values) if needs_catalog else implementation(*values)

    return call


def _if(given: Mapping[str, Node]) -> Program:
    nothing = constant(None)
    condition, yes, no = (given.get(key, nothing).run for key in ("condition", "trueCase", "falseCase"))

    def choose(frame: Frame) -> Any:
        frame.request.used.add("If")
        return yes(frame) if condition(frame) else no(frame)

    return choose


@dataclass(frozen=True)
class Fixed:
    """An argument that is the same for each call, already converted."""

    value: Any


@dataclass(frozen=True)
class Parameter:
    """One argument of a published signature."""

    name: str
    converted: Callable[[Any], Any]


def _argument(parameter: Parameter, node: Node | None) -> Fixed | Program:
    """An argument of an algorithm; only constants of immutable types are converted in advance."""
    converted = parameter.converted
    if node is None or isinstance(node.constant, (str, bool, int, float)):
        try:
            return Fixed(converted(None if node is None else node.constant))
        except EarthEngineError as error:
            return refusal(str(error))
    run = node.run
    return lambda frame: converted(run(frame))


@cache
def _parameters(name: str) -> dict[str, Parameter]:
    """An algorithm's parameters by name, in the order of its signature."""
    result = signatures()[name].get("arguments", [])
    return {item["argumentName"]: Parameter(item["argumentName"], _conversion(name, item)) for item in result}


def _conversion(name: str, described: Mapping[str, Any]) -> Callable[[Any], Any]:
    """What converts the value of a parameter of algorithm `name` to its declared type; None becomes the default."""
    key, declared, default = described["argumentName"], described["type"], described.get("defaultValue")
    convert, is_optional = conversion(declared), bool(described.get("optional"))

    def converted(value: Any) -> Any:
        if value is None:
            if not is_optional:
                raise EarthEngineError(f"{name}: Parameter '{key}' is required and may not be null.")
            value = default
        if value is None or convert is None:
            return value
        try:
            return convert(value)
        except Mismatch as error:
            raise mismatch(value, declared, name, key) from error

    return converted


def _unknown(name: str) -> str:
    if name in signatures():
        return f"The sandbox does not implement the algorithm '{name}'."
    return f"Unknown algorithm: '{name}'."
