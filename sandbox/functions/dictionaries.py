"""Algorithms on dictionaries, and those for comparison and branching."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sandbox.errors import EarthEngineError
from sandbox.functions import images
from sandbox.functions.coercion import type_name
from sandbox.functions.features import Feature
from sandbox.functions.image_bands import named
from sandbox.functions.images import Image
from sandbox.registry import algorithm


@algorithm("Dictionary")
def dictionary(value: Any) -> dict[str, Any]:
    if value is None or isinstance(value, dict):
        return dict(value or {})
    if isinstance(value, (Feature, Image)):
        return dict(value.properties)
    if isinstance(value, list):
        return dict(zip(value[::2], value[1::2], strict=True))
    raise EarthEngineError(f"Dictionary: Cannot convert a {type_name(value)} to a dictionary.")


@algorithm("Dictionary.get", "Dictionary.getNumber", "Dictionary.getString", "Dictionary.getGeometry")
def get(entries: dict[str, Any], key: str, default: Any = None) -> Any:
    if key not in entries and default is None:
        raise EarthEngineError(f"Dictionary.get: Dictionary does not contain key: '{key}'.")
    return entries.get(key, default)


@algorithm("Dictionary.set")
def set_entry(entries: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    return {**entries, key: value}


@algorithm("Dictionary.keys")
def keys(entries: dict[str, Any]) -> list[str]:
    return sorted(entries)


@algorithm("Dictionary.values")
def values(entries: dict[str, Any], names: list[str] | None) -> list[Any]:
    return [get(entries, name) for name in (names if names is not None else sorted(entries))]


@algorithm("Dictionary.size")
def size(entries: dict[str, Any]) -> int:
    return len(entries)


@algorithm("Dictionary.contains")
def contains(entries: dict[str, Any], key: str) -> bool:
    return key in entries


@algorithm("Dictionary.combine")
def combine(first: dict[str, Any], second: dict[str, Any], overwrite: bool) -> dict[str, Any]:
    return {**first, **second} if overwrite else {**second, **first}


@algorithm("Dictionary.fromLists")
def from_lists(names: list[str], items: list[Any]) -> dict[str, Any]:
    if len(names) != len(items):
        raise EarthEngineError("Dictionary.fromLists: The lists must have the same length.")
    return dict(zip(names, items, strict=True))


@algorithm("Dictionary.select")
def select(entries: dict[str, Any], selectors: list[str], ignore_missing: bool) -> dict[str, Any]:
    chosen = {key: value for s in selectors for key, value in entries.items() if re.fullmatch(s, key)}
    unknown = [s for s in selectors if not any(re.fullmatch(s, key) for key in entries)]
    if unknown and not ignore_missing:
        raise EarthEngineError(f"Dictionary.select: Dictionary does not contain key: '{unknown[0]}'.")
    return chosen


@algorithm("Dictionary.remove")
def remove(entries: dict[str, Any], selectors: list[str], ignore_missing: bool) -> dict[str, Any]:
    gone = select(entries, selectors, ignore_missing)
    return {key: value for key, value in entries.items() if key not in gone}


@algorithm("Dictionary.rename")
def rename(entries: dict[str, Any], old: list[str], new: list[str], overwrite: bool) -> dict[str, Any]:
    names = dict(zip(old, new, strict=True))
    return {names.get(key, key): value for key, value in entries.items()}


@algorithm("Dictionary.map")
def map_entries(entries: dict[str, Any], function: Callable[[Any, Any], Any]) -> dict[str, Any]:
    return {key: function(key, entries[key]) for key in sorted(entries)}


@algorithm("Dictionary.toImage")
def to_image(entries: dict[str, Any], names: list[str] | None) -> Image:
    wanted = names if names is not None else sorted(entries)
    return Image(tuple(named([images.constant_band("constant", entries[name])], [name])[0] for name in wanted))


@algorithm("If")
def branch(condition: Any, true_case: Any, false_case: Any) -> Any:
    return true_case if condition else false_case


@algorithm("IsEqual")
def is_equal(left: Any, right: Any) -> bool:
    return bool(left == right)


@algorithm("ObjectType")
def object_type(value: Any) -> str:
    return type_name(value).split("<", 1)[0]
