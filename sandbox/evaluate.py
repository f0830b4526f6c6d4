"""Evaluates expression graphs as the client sends them: values by reference, functions, invocations.

Every value that does not depend on a function's argument is computed once per request, so shared nodes cost
nothing. Arguments are checked and converted to the types of the published signatures before an algorithm runs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sandbox import algorithms  # noqa: F401  (registers every algorithm)
from sandbox.client_files import signatures
from sandbox.coercion import coerced
from sandbox.errors import EarthEngineError
from sandbox.registry import NEEDS_CATALOG, REGISTRY
from sandbox.stored import Catalog

_MAX_DEPTH = 1000
_PYTHON_FRAMES = 30_000  # of such a graph and of the pixels that it describes


@dataclass
class Frame:
    """Arguments of the function being run, and what was computed with them."""

    arguments: dict[str, Any] = field(default_factory=dict)
    parent: Frame | None = None
    values: dict[str, Any] = field(default_factory=dict)

    def lookup(self, name: str) -> Any:
        frame: Frame | None = self
        while frame is not None:
            if name in frame.arguments:
                return frame.arguments[name]
            frame = frame.parent
        raise EarthEngineError(f"Unbound argument reference: '{name}'.")


@dataclass(frozen=True)
class Function:
    """A function of the graph with the frame that it closes over."""

    evaluator: Evaluator
    names: tuple[str, ...]
    body: str
    frame: Frame

    def __call__(self, *arguments: Any) -> Any:
        bound = dict(zip(self.names, arguments, strict=False))
        return self.evaluator.reference(self.body, Frame(bound, self.frame))


class Evaluator:
    """Evaluates one expression; not shared between requests."""

    def __init__(self, expression: Mapping[str, Any], catalog: Catalog) -> None:
        self._values: Mapping[str, Any] = expression.get("values", {})
        self._result = expression.get("result")
        self._catalog = catalog
        self._root = Frame()
        self._free: dict[str, frozenset[str]] = {}
        self._depth = 0
        self.used: set[str] = set()

    def run(self) -> Any:
        """The value of the expression's result."""
        sys.setrecursionlimit(max(sys.getrecursionlimit(), _PYTHON_FRAMES))
        if not isinstance(self._result, str):
            raise EarthEngineError("Invalid JSON payload received: the expression has no result.")
        return self.reference(self._result, self._root)

    def reference(self, key: str, frame: Frame) -> Any:
        """A named value, computed once in the outermost frame that it depends on."""
        home = self._home(key, frame)
        if key not in home.values:
            if key not in self._values:
                raise EarthEngineError(f"Value reference '{key}' not found in the expression.")
            home.values[key] = self._node(self._values[key], home)
        return home.values[key]

    def _home(self, key: str, frame: Frame) -> Frame:
        free = self._free_names(key)
        home = frame
        while home.parent is not None and not free & home.arguments.keys():
            home = home.parent
        return home

    def _free_names(self, key: str) -> frozenset[str]:
        if key not in self._free:
            self._free[key] = frozenset()  # a graph is acyclic; this ends a malformed one
            self._free[key] = frozenset(self._names_in(self._values.get(key)))
        return self._free[key]

    def _names_in(self, node: Any) -> set[str]:
        if isinstance(node, list):
            return set().union(*(self._names_in(item) for item in node)) if node else set()
        if not isinstance(node, dict):
            return set()
        if isinstance(node.get("argumentReference"), str):
            return {node["argumentReference"]}
        if isinstance(node.get("valueReference"), str):
            return set(self._free_names(node["valueReference"]))
        if "constantValue" in node:
            return set()
        definition = node.get("functionDefinitionValue")
        if isinstance(definition, dict) and "body" in definition:
            return set(self._free_names(definition["body"])) - set(definition.get("argumentNames", []))
        return set().union(*(self._names_in(item) for item in node.values())) if node else set()

    def _node(self, node: Mapping[str, Any], frame: Frame) -> Any:
        for kind, value in node.items():
            if kind in _KINDS:
                return _KINDS[kind](self, value, frame)
        raise EarthEngineError(f"Invalid JSON payload received: unknown value node {sorted(node)}.")

    def _constant(self, value: Any, frame: Frame) -> Any:
        return value

    def _integer(self, value: Any, frame: Frame) -> int:
        return int(value)

    def _array(self, value: Mapping[str, Any], frame: Frame) -> list[Any]:
        return [self._node(item, frame) for item in value.get("values", [])]

    def _dictionary(self, value: Mapping[str, Any], frame: Frame) -> dict[str, Any]:
        return {key: self._node(item, frame) for key, item in value.get("values", {}).items()}

    def _argument(self, name: str, frame: Frame) -> Any:
        return frame.lookup(name)

    def _definition(self, value: Mapping[str, Any], frame: Frame) -> Function:
        return Function(self, tuple(value.get("argumentNames", ())), value["body"], frame)

    def _invocation(self, value: Mapping[str, Any], frame: Frame) -> Any:
        given = value.get("arguments", {})
        if "functionReference" in value:
            function = self.reference(value["functionReference"], frame)
            return function(*(self._node(node, frame) for node in given.values()))
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise EarthEngineError("Expression is too deeply nested.")
        try:
            return self.call(value["functionName"], given, frame)
        finally:
            self._depth -= 1

    def call(self, name: str, given: Mapping[str, Any], frame: Frame) -> Any:
        """One algorithm with its argument nodes."""
        implementation = _implementation(name)
        self.used.add(name)
        if name == "If":
            return self._if(given, frame)
        parameters = _parameters(name)
        unknown = given.keys() - parameters.keys()
        if unknown:
            raise EarthEngineError(f"{name}: Unrecognized argument '{sorted(unknown)[0]}'.")
        values = [self._checked(name, parameter, given, frame) for parameter in parameters.values()]
        if name in NEEDS_CATALOG:
            return implementation(self._catalog, *values)
        return implementation(*values)

    def _if(self, given: Mapping[str, Any], frame: Frame) -> Any:
        condition = self._node(given["condition"], frame) if "condition" in given else None
        branch = given.get("trueCase" if condition else "falseCase")
        return None if branch is None else self._node(branch, frame)

    def _checked(self, name: str, parameter: Parameter, given: Mapping[str, Any], frame: Frame) -> Any:
        key = parameter.name
        value = self._node(given[key], frame) if key in given else None
        if value is None:
            if not parameter.optional:
                raise EarthEngineError(f"{name}: Parameter '{key}' is required and may not be null.")
            value = parameter.default
        return value if value is None else coerced(value, parameter.declared, name, key)


_KINDS: dict[str, Any] = {
    "constantValue": Evaluator._constant,
    "functionInvocationValue": Evaluator._invocation,
    "valueReference": Evaluator.reference,
    "argumentReference": Evaluator._argument,
    "arrayValue": Evaluator._array,
    "dictionaryValue": Evaluator._dictionary,
    "integerValue": Evaluator._integer,
    "functionDefinitionValue": Evaluator._definition,
    "bytesValue": Evaluator._constant,
}


@dataclass(frozen=True)
class Parameter:
    """One argument of a published signature."""

    name: str
    declared: str
    optional: bool
    default: Any


@cache
def _parameters(name: str) -> dict[str, Parameter]:
    """An algorithm's parameters by name, in the order of its signature."""
    found = signatures()[name].get("arguments", [])
    return {
        one["argumentName"]: Parameter(
            one["argumentName"], one["type"], bool(one.get("optional")), one.get("defaultValue")
        )
        for one in found
    }


def _implementation(name: str) -> Any:
    if name in REGISTRY:
        return REGISTRY[name]
    if name in signatures():
        raise EarthEngineError(f"The sandbox does not implement the algorithm '{name}'.")
    raise EarthEngineError(f"Unknown algorithm: '{name}'.")
