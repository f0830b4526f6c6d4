"""What an encoded Earth Engine expression says: the functions it calls, and what it interpolates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import ee

Node = Mapping[str, Any]
# Of an image whose bands and projection are those of its input.
_SELECTIONS = ("Image.select", "Image.rename")
# Of a collection whose images are those of its input.
_CHOICES = ("Collection.filter", "Collection.limit", "Collection.sort")


@dataclass(frozen=True)
class Scope:
    """What the arguments of functions stand for: by name, a collection whose images they are, and its own scope.

    The client gives the argument of every `map` of the same depth the same name.
    """

    mapped: Mapping[str, tuple[Node, Scope]] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """One function of an expression: its name, the node of each argument, and what these stand for."""

    function: str
    arguments: Mapping[str, Node]
    scope: Scope

    @property
    def input(self) -> Node:
        """The image or the collection that the function is called on."""
        return next((self.arguments[name] for name in ("image", "input", "collection") if name in self.arguments), {})


class Graph:
    """An expression as `ee.serializer.encode` gives it."""

    def __init__(self, encoded: Mapping[str, Any]) -> None:
        self._values: Mapping[str, Node] = encoded["values"]
        self._seen: set[tuple[int, int]] = set()
        self.calls = tuple(self._visit(self._values[encoded["result"]], Scope()))

    @classmethod
    def of(cls, image: ee.ComputedObject) -> Graph:
        """The graph of an object of the client."""
        return cls(ee.serializer.encode(image))

    def functions(self) -> list[str]:
        """The names of all functions called."""
        return [call.function for call in self.calls]

    def interpolated_too_late(self) -> list[str]:
        """The functions whose results are interpolated, although no projection of stored pixels is promised for them.

        Earth Engine documents `Image.resample` for images as they are stored, and for those of another meaningful
        default projection: one that `setDefaultProjection` takes from a stored image.
        """
        late = [
            call
            for call in self.calls
            if call.function == "Image.resample" and not self._has_own_pixels(call.input, call.scope)
        ]
        return sorted({self._function(call.input, call.scope) for call in late})

    def _visit(self, node: Any, scope: Scope) -> Iterator[Call]:
        """Every call in the node and in what it refers to, once for each scope."""
        node = self._resolved(node)
        if not isinstance(node, Mapping | list) or (id(node), id(scope)) in self._seen:
            return
        self._seen.add((id(node), id(scope)))
        call = _call_of(node, scope)
        if call:
            yield call
        inner = self._inside(call, scope) if call and call.function == "Collection.map" else scope
        for child in node.values() if isinstance(node, Mapping) else node:
            yield from self._visit(child, inner)
        if isinstance(node, Mapping) and "functionDefinitionValue" in node:
            yield from self._visit(self._values[node["functionDefinitionValue"]["body"]], scope)

    def _inside(self, call: Call, scope: Scope) -> Scope:
        """The scope of the function of a `map`."""
        names = self._algorithm(call)["argumentNames"]
        return Scope({**scope.mapped, **{name: (call.input, scope) for name in names}})

    def _algorithm(self, call: Call) -> Node:
        definition: Node = self._resolved(call.arguments["baseAlgorithm"])["functionDefinitionValue"]
        return definition

    def _resolved(self, node: Any) -> Any:
        while isinstance(node, Mapping) and "valueReference" in node:
            node = self._values[node["valueReference"]]
        return node

    def _call(self, node: Node, scope: Scope) -> Call | None:
        return _call_of(self._resolved(node), scope)

    def _function(self, node: Node, scope: Scope) -> str:
        call = self._call(node, scope)
        return call.function if call else "an image of a computed collection"

    def _has_own_pixels(self, node: Node, scope: Scope) -> bool:
        """Whether an image is a stored one, or a computed one that says the pixels of a stored one again."""
        call = self._call(node, scope)
        if call is None or call.function != "Image.setDefaultProjection":
            return self._is_stored(node, scope)
        projection = self._call(call.arguments["crs"], call.scope)
        if projection is None or projection.function != "Image.projection":
            return False
        return self._has_own_pixels(projection.input, projection.scope)

    def _is_stored(self, node: Node, scope: Scope) -> bool:
        """Whether an image is a stored one, or bands of it."""
        name = self._resolved(node).get("argumentReference")
        if name is not None:
            return name in scope.mapped and self._holds_stored(*scope.mapped[name])
        call = self._call(node, scope)
        if call is None:
            return False
        if call.function in _SELECTIONS:
            return self._is_stored(call.input, scope)
        return call.function == "Image.load" or (
            call.function == "Collection.first" and self._holds_stored(call.input, scope)
        )

    def _holds_stored(self, node: Node, scope: Scope) -> bool:
        """Whether the images of a collection are stored ones or bands of them, or say the pixels of stored ones."""
        call = self._call(node, scope)
        if call is None:
            return False
        if call.function == "Collection.map":
            return self._has_own_pixels(self._values[self._algorithm(call)["body"]], self._inside(call, scope))
        if call.function in _CHOICES:
            return self._holds_stored(call.input, scope)
        return call.function == "ImageCollection.load"


def _call_of(node: Any, scope: Scope) -> Call | None:
    """The call that a node is; None for one of a function that the expression itself defines, which has no name."""
    call = node.get("functionInvocationValue") if isinstance(node, Mapping) else None
    return Call(call["functionName"], call.get("arguments", {}), scope) if call and "functionName" in call else None
