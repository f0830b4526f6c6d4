"""What a mapped function leaves as it was in its element, read from its graph: filters behind a map that ask for
nothing else can be applied before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.functions.image_math import BINARY, CASTS, UNARY

GEOMETRY = ".geo"


def _by_name(names: dict[str, str]) -> dict[str, str]:
    return {f"Image.{name}": argument for argument, listed in names.items() for name in listed.split()}


CARRIERS = _by_name({
    "input": "select rename unmask clip where",
    "image": "resample setDefaultProjection reproject updateMask selfMask cast",
    "dstImg": "addBands",
    "value": " ".join([name.lower() for name in CASTS] + [f"to{name}" for name in CASTS]),
})  # fmt: skip
"""Algorithms by the argument whose properties and geometry their result has."""

COMPUTED = _by_name({
    "image1": " ".join(name for names in BINARY for name in names),
    "value": " ".join(UNARY),
    "input": "normalizedDifference",
})  # fmt: skip
"""Algorithms by the argument whose geometry their result has, but not its properties."""

MOVED = ("Image.clip", "Image.unmask")
"""Carriers whose result may have another geometry."""


@dataclass(frozen=True)
class Kept:
    """Whether a function's result has the same property as its argument, by the property's name (`GEOMETRY`: where
    it lies). False where the graph does not show it.
    """

    values: Mapping[str, Any]
    argument: str
    body: Any

    def __call__(self, key: str) -> bool:
        return self._same(self.body, key)

    def _node(self, node: Any) -> Mapping[str, Any]:
        """The node that a reference stands for, any other as it is; an argument that was not given is empty."""
        if node and "valueReference" in node:
            return self._node(self.values.get(node["valueReference"]))
        return node or {}

    def _constant(self, node: Any) -> Any:
        """A constant, also one that is written in parts; None for what is computed."""
        node = self._node(node)
        if "arrayValue" in node:
            return [self._constant(item) for item in node["arrayValue"].get("values", [])]
        return node.get("constantValue")

    def _same(self, node: Any, key: str) -> bool:
        node = self._node(node)
        call = node.get("functionInvocationValue")
        if not call:
            return bool(node.get("argumentReference") == self.argument)
        name, given = call.get("functionName"), call.get("arguments", {})
        if name in _RULES:
            return _RULES[name](self, given, key)
        carriers = CARRIERS if key != GEOMETRY else {**CARRIERS, **COMPUTED}
        changes = key == GEOMETRY and name in MOVED
        return name in carriers and not changes and self._same(given.get(carriers[name]), key)

    def _set(self, given: Mapping[str, Any], key: str) -> bool:
        changed = self._constant(given.get("key"))
        return changed not in (None, key) and self._same(given.get("object"), key)

    def _set_many(self, given: Mapping[str, Any], key: str) -> bool:
        node = self._node(given.get("properties"))
        written = node.get("constantValue", node.get("dictionaryValue", {}).get("values"))
        return written is not None and key not in written and self._same(given.get("object"), key)

    def _copied(self, given: Mapping[str, Any], key: str) -> bool:
        source, target = (self._same(given.get(name), key) for name in ("source", "destination"))
        named = key in (self._constant(given.get("properties")) or [])
        return source if named else target and (source or key.startswith(("system:", ".")))

    def _if(self, given: Mapping[str, Any], key: str) -> bool:
        return all(self._same(given.get(name), key) for name in ("trueCase", "falseCase"))


_RULES: dict[str, Callable[[Kept, Mapping[str, Any], str], bool]] = {
    "Element.set": Kept._set,
    "Element.setMulti": Kept._set_many,
    "Element.copyProperties": Kept._copied,
    "Image.copyProperties": Kept._copied,
    "If": Kept._if,
}
