"""Reducers over Python values: columns of a collection, and lists; they may gather the values themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sandbox.errors import EarthEngineError
from sandbox.functions.element_collections import Collection
from sandbox.functions.features import property_of
from sandbox.functions.reducers import Reducer
from sandbox.registry import algorithm


def _refuse(*arrays: Any) -> Any:
    raise EarthEngineError("The sandbox reduces pixels to numbers only, not to lists.")


@algorithm("Reducer.toList")
def to_list(size: int | None, optional: int) -> Reducer:
    """Gather single values or, with `size`, rows of so many."""
    return Reducer(("list",), _refuse, inputs=size or 1, gathers="rows" if size else "values")


@algorithm("Reducer.repeat")
def repeat(reducer: Reducer, count: int) -> Reducer:
    """Apply a reducer to `count` columns; each output is the list of their results."""
    return replace(reducer, repeated=count)


def reduced(reducer: Reducer, rows: list[list[Any]]) -> dict[str, Any]:
    """The outputs of a reducer for rows of its inputs; rows with a null are passed over."""
    known = [row for row in rows if None not in row]
    if reducer.gathers:
        return {reducer.outputs[0]: known if reducer.gathers == "rows" else [row[0] for row in known]}
    first = [row[0] for row in known]
    numeric = all(isinstance(value, (int, float)) for value in first)
    column = np.empty((len(first), 1), np.float64 if numeric else object)
    column[:, 0] = first
    if not first:
        return dict.fromkeys(reducer.outputs)
    try:
        outputs = reducer.reduce(column, np.ones(column.shape, dtype=np.bool_), np.ones(column.shape))
    except (TypeError, ValueError) as error:
        raise EarthEngineError(f"Reducer.{reducer.outputs[0]}: It cannot reduce {first[0]!r}.") from error
    numbers = [value.tolist()[0] if known[0] else None for value, known in outputs]
    return dict(zip(reducer.outputs, numbers, strict=True))


@algorithm("List.reduce")
def reduce_list(items: list[Any], reducer: Reducer) -> Any:
    outcome = reduced(reducer, [[item] for item in items])
    return next(iter(outcome.values())) if len(outcome) == 1 else outcome


@algorithm("Collection.reduceColumns")
def reduce_columns(members: Collection, reducer: Reducer, selectors: list[str], weights: Any) -> dict[str, Any]:
    """The outputs of a reducer over properties of all elements, one input a selector."""
    if weights:
        raise EarthEngineError("Collection.reduceColumns: The sandbox does not implement 'weightSelectors'.")
    expected = reducer.inputs * (reducer.repeated or 1)
    if len(selectors) != expected:
        raise EarthEngineError(
            f"Collection.reduceColumns: The reducer needs {expected} selectors, but {len(selectors)} are given."
        )
    rows = [[property_of(element, name) for name in selectors] for element in members]
    parts = [slice(i, i + reducer.inputs) for i in range(0, expected, reducer.inputs)]
    outcomes = [reduced(reducer, [row[part] for row in rows]) for part in parts]
    if reducer.repeated is None:
        return outcomes[0]
    return {name: [outcome[name] for outcome in outcomes] for name in outcomes[0]}
