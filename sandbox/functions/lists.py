"""Algorithms on lists."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from sandbox.errors import EarthEngineError
from sandbox.functions.element_collections import sort_key
from sandbox.functions.filters import Filter
from sandbox.registry import algorithm


@algorithm("List.get", "List.getNumber", "List.getString", "List.getGeometry")
def get(items: list[Any], index: int) -> Any:
    if not -len(items) <= index < len(items):
        raise EarthEngineError(f"List.get: List index out of range: {index} (size {len(items)}).")
    return items[index]


@algorithm("List.size", "List.length")
def size(items: list[Any]) -> int:
    return len(items)


@algorithm("List.map")
def map_list(items: list[Any], function: Callable[[Any], Any], drop_nulls: bool) -> list[Any]:
    results = [function(item) for item in items]
    return [result for result in results if result is not None] if drop_nulls else results


@algorithm("List.iterate")
def iterate(items: list[Any], function: Callable[[Any, Any], Any], first: Any) -> Any:
    return functools.reduce(lambda state, item: function(item, state), items, first)


@algorithm("List.filter")
def filter_list(items: list[Any], condition: Filter) -> list[Any]:
    return [item for item in items if condition.test({"item": item}, {"item": item})]


@algorithm("List.cat")
def cat(items: list[Any], other: list[Any]) -> list[Any]:
    return [*items, *other]


@algorithm("List.add")
def add(items: list[Any], element: Any) -> list[Any]:
    return [*items, element]


@algorithm("List.insert")
def insert(items: list[Any], index: int, element: Any) -> list[Any]:
    return [*items[:index], element, *items[index:]]


@algorithm("List.set")
def set_item(items: list[Any], index: int, element: Any) -> list[Any]:
    get(items, index)
    changed = list(items)
    changed[index] = element
    return changed


@algorithm("List.contains")
def contains(items: list[Any], element: Any) -> bool:
    return element in items


@algorithm("List.containsAll")
def contains_all(items: list[Any], other: list[Any]) -> bool:
    return all(element in items for element in other)


@algorithm("List.indexOf")
def index_of(items: list[Any], element: Any) -> int:
    return items.index(element) if element in items else -1


@algorithm("List.frequency")
def frequency(items: list[Any], element: Any) -> int:
    return items.count(element)


@algorithm("List.equals")
def equals(items: list[Any], other: list[Any]) -> bool:
    return items == other


@algorithm("List.remove")
def remove(items: list[Any], element: Any) -> list[Any]:
    position = index_of(items, element)
    return items if position < 0 else [*items[:position], *items[position + 1 :]]


@algorithm("List.removeAll")
def remove_all(items: list[Any], other: list[Any]) -> list[Any]:
    return [item for item in items if item not in other]


@algorithm("List.replaceAll")
def replace_all(items: list[Any], old: Any, new: Any) -> list[Any]:
    return [new if item == old else item for item in items]


@algorithm("List.distinct")
def distinct(items: list[Any]) -> list[Any]:
    return [item for index, item in enumerate(items) if item not in items[:index]]


@algorithm("List.flatten")
def flatten(items: list[Any]) -> list[Any]:
    return [leaf for item in items for leaf in (flatten(item) if isinstance(item, list) else [item])]


@algorithm("List.reverse")
def reverse(items: list[Any]) -> list[Any]:
    return items[::-1]


@algorithm("List.sort")
def sort(items: list[Any], keys: list[Any] | None) -> list[Any]:
    if keys is None:
        return sorted(items, key=sort_key)
    order = sorted(range(len(items)), key=lambda i: sort_key(keys[i]))
    return [items[i] for i in order]


@algorithm("List.slice")
def cut(items: list[Any], start: int, end: int | None, step: int | None) -> list[Any]:
    return items[start:end:step]


@algorithm("List.splice")
def splice(items: list[Any], start: int, count: int, other: list[Any] | None) -> list[Any]:
    return [*items[:start], *(other or []), *items[start + count :]]


@algorithm("List.zip")
def pair(items: list[Any], other: list[Any]) -> list[Any]:
    return [list(both) for both in zip(items, other, strict=False)]


@algorithm("List.unzip")
def unzip(items: list[list[Any]]) -> list[Any]:
    return [list(column) for column in zip(*items, strict=True)]


@algorithm("List.join")
def join(items: list[Any], separator: str | None) -> str:
    return (separator or "").join(str(item) for item in items)


@algorithm("List.repeat")
def repeat(value: Any, count: int) -> list[Any]:
    return [value] * count


@algorithm("List.sequence")
def sequence(start: float, end: float | None, step: float | None, count: int | None) -> list[Any]:
    """Numbers from start to end (inclusive) in steps, or `count` numbers."""
    if count is not None:
        numbers = np.linspace(start, end, count) if end is not None else start + np.arange(count) * (step or 1)
    elif end is None:
        raise EarthEngineError("List.sequence: Parameter 'end' or 'count' is required.")
    else:
        numbers = start + np.arange(int(np.floor((end - start) / (step or 1) + 1e-9)) + 1) * (step or 1)
    return [int(number) if float(number).is_integer() else float(number) for number in numbers]
