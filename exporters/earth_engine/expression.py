"""Earth Engine expressions as `ee.serializer.encode` gives them, key for key, in a third of the time.

The client finds what occurs twice by the MD5 of its JSON, and walks the expression twice more. Here a node is known by
its content and the numbers of its children, and references are counted in one sweep.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import ee

_LEAVES = frozenset(("constantValue", "integerValue", "bytesValue", "argumentReference"))
# The client moves no value deeper than this into the one that refers to it; each nesting counts three (ee/serializer).
_DEEPEST, _NESTING = 50, 3
_UNKNOWN = (KeyError, TypeError, ValueError, AttributeError, ee.EEException)


class _Node(NamedTuple):
    """A value of the API: its kind, what it says (of a leaf the whole value), and the numbers of its children."""

    kind: str
    content: Any
    children: tuple[int, ...] = ()


class Shared:
    """Objects that many expressions contain: their nodes are made once. Safe for many threads."""

    def __init__(self) -> None:
        self.nodes = _Nodes()
        self._lock = threading.Lock()

    def add(self, item: Any) -> None:
        """Make the nodes of an object; expressions that are being written keep those that there were."""
        with self._lock:
            nodes = self.nodes.copy()
            try:
                nodes.number(item)
            except _UNKNOWN:
                return
            self.nodes = nodes


def encoded(expression: Any, shared: Shared | None = None) -> dict[str, Any]:
    """What `ee.serializer.encode` returns, its keys in the same order. Raises what that raises."""
    try:
        nodes = shared.nodes.copy() if shared else _Nodes()
        return _Written(nodes.all, nodes.number(expression)).expression
    except _UNKNOWN:  # what a later client may bring, and what it refuses
        return dict(ee.serializer.encode(expression))


class _Nodes:
    """The nodes of expressions, each once and behind its children."""

    def __init__(self) -> None:
        self.all: list[_Node] = []
        self._by_content: dict[Any, int] = {}
        # With the objects themselves: else a later one could be taken for one that is gone.
        self._by_identity: dict[int, tuple[Any, int]] = {}

    def copy(self) -> _Nodes:
        """The same nodes, to which others may be added."""
        result = _Nodes()
        result.all = self.all.copy()
        result._by_content, result._by_identity = self._by_content.copy(), self._by_identity.copy()
        return result

    def number(self, item: Any) -> int:
        """The number of an object's node. The client's objects encode what they hold by calling this."""
        known = self._by_identity.get(id(item))
        if known is not None:
            return known[1]
        number = self._numbered(*self._read(item))
        self._by_identity[id(item)] = item, number
        return number

    def _numbered(self, key: Any, node: _Node) -> int:
        number = self._by_content.setdefault(key, len(self.all))
        if number == len(self.all):
            self.all.append(node)
        return number

    def _read(self, item: Any) -> tuple[Any, _Node]:
        """An object's node, and what an equal one has for a key."""
        if isinstance(item, ee.encodable.Encodable):
            return _of_value(item.encode_cloud_value(self.number))
        if isinstance(item, list | tuple):
            return _parent("arrayValue", None, map(self.number, item))
        if isinstance(item, dict):
            names = sorted(item)
            return _parent("dictionaryValue", tuple(names), [self.number(item[name]) for name in names])
        return _of_value(_leaf(item))


def _leaf(item: Any) -> dict[str, Any]:
    if item is None or isinstance(item, bool | str | float):
        return {"constantValue": item}
    if isinstance(item, int):
        return {"constantValue": item} if float(item) == item else {"integerValue": str(item)}
    raise TypeError(f"{type(item).__name__} is left to the client")


def _of_value(value: Mapping[str, Any]) -> tuple[Any, _Node]:
    """The key and the node of a value whose children are numbers."""
    ((kind, content),) = value.items()
    if kind in _LEAVES:
        # Others than texts as JSON, in which alone 1 is neither 1.0 nor True.
        key = content if isinstance(content, str) else (json.dumps(content),)
        return (kind, key), _Node(kind, value)
    if kind == "valueReference":
        return _parent(kind, None, (content,))
    if kind == "functionDefinitionValue":
        return _parent(kind, tuple(content["argumentNames"]), (content["body"],))
    if kind == "functionInvocationValue":
        return _invocation(**content)
    raise ValueError(f"{kind} is left to the client")


def _invocation(arguments: Mapping[str, Any], **function: Any) -> tuple[Any, _Node]:
    """A call: its content is the function's name, or None where the function is the first child, and the arguments'."""
    ((key, value),) = function.items()
    numbers = [argument["valueReference"] for argument in arguments.values()]
    if key == "functionReference":
        return _parent("functionInvocationValue", (None, *arguments), (value, *numbers))
    return _parent("functionInvocationValue", (value, *arguments), numbers)


def _parent(kind: str, content: Any, children: Iterable[int]) -> tuple[Any, _Node]:
    node = _Node(kind, content, tuple(children))
    return node, node


class _Written:
    """An expression written out: what is referred to once stands where that is, and the rest has names."""

    def __init__(self, nodes: list[_Node], result: int) -> None:
        self._nodes = nodes
        self._references = _references(nodes, result)
        self._names: dict[int, str] = {}
        self._values: dict[str, Any] = {}
        self.expression = {"result": self._name(result), "values": self._values}

    def _name(self, number: int) -> str:
        if number not in self._names:
            name = self._names[number] = str(len(self._names))
            self._values[name] = self._value(self._nodes[number], 0)
        return self._names[number]

    def _child(self, number: int, depth: int) -> Any:
        node = self._nodes[number]
        if self._references[number] == 1 and depth < _DEEPEST:
            return self._value(node, depth)
        return node.content if _is_light(node) else {"valueReference": self._name(number)}

    def _value(self, node: _Node, depth: int) -> Any:
        if node.kind in _LEAVES:
            return node.content
        if node.kind == "valueReference":
            return self._child(node.children[0], depth)
        if node.kind == "functionDefinitionValue":
            names = list(node.content)
            return {"functionDefinitionValue": {"argumentNames": names, "body": self._name(node.children[0])}}
        if node.kind == "functionInvocationValue":
            return {"functionInvocationValue": self._call(node, depth + _NESTING)}
        values = [self._child(number, depth + _NESTING) for number in node.children]
        return _array(values) if node.kind == "arrayValue" else _dictionary(node.content, values)

    def _call(self, node: _Node, depth: int) -> dict[str, Any]:
        function, *names = node.content
        numbers = iter(node.children)
        if function is None:
            called = {"functionReference": self._name(next(numbers))}
        else:
            called = {"functionName": function}
        return {**called, "arguments": {name: self._child(next(numbers), depth) for name in names}}


def _references(nodes: list[_Node], result: int) -> list[int]:
    """How often each node is referred to by others that are reached from `result`: children have smaller numbers."""
    counts = [0] * len(nodes)
    counts[result] = 1
    for number in range(result, -1, -1):
        if counts[number]:
            for child in nodes[number].children:
                counts[child] += 1
    return counts


def _is_light(node: _Node) -> bool:
    """Whether a value is written wherever it is referred to, as numbers are; a text is not."""
    if node.kind == "constantValue":
        constant = node.content["constantValue"]
        return constant is None or isinstance(constant, bool | float | int)
    return node.kind == "argumentReference"


def _array(values: list[Any]) -> dict[str, Any]:
    if all("constantValue" in value for value in values):
        return {"constantValue": [value["constantValue"] for value in values]}
    return {"arrayValue": {"values": values}}


def _dictionary(names: tuple[str, ...], values: list[Any]) -> dict[str, Any]:
    if all("constantValue" in value for value in values):
        return {"constantValue": {name: value["constantValue"] for name, value in zip(names, values, strict=True)}}
    return {"dictionaryValue": {"values": dict(zip(names, values, strict=True))}}
