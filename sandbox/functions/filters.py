"""Filters: a test of one element (of a pair, in joins), with the part that a catalogue can apply as a query."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shapely.geometry.base import BaseGeometry

from sandbox.functions import geometry as geometries
from sandbox.functions.dates import Date, DateRange, coerced_date, field_of
from sandbox.functions.features import Element, Feature, element_geometry, property_of
from sandbox.functions.geometry import Geometry
from sandbox.functions.images import Image
from sandbox.functions.scope import prepared
from sandbox.raster import longitudes
from sandbox.raster.stored import Query
from sandbox.registry import algorithm

_GEOMETRY_FIELDS = (".geo", ".all")


@dataclass(frozen=True, eq=False)
class Filter:
    """`test(left, right)`; a filter of one collection passes the element on both sides.

    A true test implies `query`, a false test implies `otherwise`.
    """

    test: Callable[[Any, Any], bool]
    query: Query = Query()
    otherwise: Query = Query()

    def matches(self, element: Any) -> bool:
        return bool(self.test(element, element))


def narrowed(first: Query, second: Query) -> Query:
    """The conjunction of two queries; if both have a region, that of the first."""
    starts = [ms for ms in (first.start_ms, second.start_ms) if ms is not None]
    ends = [ms for ms in (first.end_ms, second.end_ms) if ms is not None]
    return Query(
        region=first.region if first.region is not None else second.region,
        start_ms=max(starts, default=None),
        end_ms=min(ends, default=None),
        property_equals=first.property_equals + second.property_equals,
        property_at_most=first.property_at_most + second.property_at_most,
    )


def _operand(field: str | None, value: Any) -> Callable[[Any], Any]:
    if field is None:
        return lambda element: value
    return lambda element: property_of(element, field) if isinstance(element, (Feature, Image)) else (
        element.get(field) if isinstance(element, dict) else element)  # fmt: skip


def _comparable(value: Any) -> Any:
    return value.ms if isinstance(value, Date) else value


def _compared(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    def decide(left: Any, right: Any) -> bool:
        left, right = _comparable(left), _comparable(right)
        if left is None or right is None:
            return False
        try:
            return bool(compare(left, right))
        except TypeError:
            return False

    return decide


def _pairwise(
    decide: Callable[[Any, Any], bool], left_field: Any, right_value: Any, right_field: Any, left_value: Any
) -> Callable[[Any, Any], bool]:
    left, right = _operand(left_field, left_value), _operand(right_field, right_value)
    return lambda first, second: decide(left(first), right(second))


_COMPARISONS: dict[tuple[str, ...], Callable[[Any, Any], Any]] = {
    ("equals", "eq"): operator.eq,
    ("notEquals", "neq"): operator.ne,
    ("lessThan", "lt"): operator.lt,
    ("lessThanOrEquals", "lte"): operator.le,
    ("greaterThan", "gt"): operator.gt,
    ("greaterThanOrEquals", "gte"): operator.ge,
    ("stringStartsWith",): lambda left, right: str(left).startswith(right),
    ("stringEndsWith",): lambda left, right: str(left).endswith(right),
    ("stringContains",): lambda left, right: right in str(left),
    ("inList",): lambda left, right: left in right,
    ("listContains",): lambda left, right: right in left,
}


def _register_comparison(names: tuple[str, ...], compare: Callable[[Any, Any], Any]) -> None:
    @algorithm(*(f"Filter.{name}" for name in names))
    def comparison(left_field: Any, right_value: Any, right_field: Any, left_value: Any) -> Filter:
        test = _pairwise(_compared(compare), left_field, right_value, right_field, left_value)
        return Filter(
            test, _compare_query(names[0], left_field, right_value), _otherwise_query(names[0], left_field, right_value)
        )


def _compare_query(name: str, field: str | None, value: Any) -> Query:
    bound = _comparable(value)
    if field is None or bound is None:
        return Query()
    if field == "system:time_start" and isinstance(bound, (int, float)):
        starts = {"equals": int(bound), "greaterThanOrEquals": int(bound), "greaterThan": int(bound)}
        ends = {"equals": int(bound) + 1, "lessThan": int(bound) + 1, "lessThanOrEquals": int(bound) + 1}
        return Query(start_ms=starts.get(name), end_ms=ends.get(name))
    if name == "equals" and isinstance(bound, (str, int, float)) and not field.startswith("."):
        return Query(property_equals=((field, bound),))
    if name in ("lessThan", "lessThanOrEquals") and isinstance(bound, (int, float)):
        return Query(property_at_most=((field, float(bound)),))
    return Query()


def _otherwise_query(name: str, field: str | None, value: Any) -> Query:
    # The client writes "at most" as "not greater than".
    bound = _comparable(value)
    if field is None or not name.startswith("greaterThan") or not isinstance(bound, (int, float)):
        return Query()
    return Query(property_at_most=((field, float(bound)),))


for _names, _compare in _COMPARISONS.items():
    _register_comparison(_names, _compare)


def _in_range(left: Any, right: Any) -> bool:
    if left is None or right is None:
        return False
    if isinstance(right, DateRange):
        return left.start.ms <= right.start.ms and right.end.ms <= left.end.ms
    return bool(left.holds(coerced_date(right)))


@algorithm("Filter.dateRangeContains")
def date_range_contains(left_field: Any, right_value: Any, right_field: Any, left_value: Any) -> Filter:
    test = _pairwise(_in_range, left_field, right_value, right_field, left_value)
    if right_field == "system:time_start" and isinstance(left_value, DateRange):
        return Filter(test, Query(start_ms=left_value.start.ms, end_ms=left_value.end.ms))
    return Filter(test)


def shape_of(value: Any) -> BaseGeometry | None:
    """The lon/lat shape of a geometry, an element or a collection."""
    if value is None or isinstance(value, Geometry):
        return None if value is None else value.wrapped
    if isinstance(value, (Feature, Image)):
        geometry = element_geometry(value)
        return None if geometry is None else geometry.wrapped
    united = getattr(value, "united", None)
    return None if united is None else longitudes.wrapped(united())


def _shaped(field: str | None, value: Any) -> Callable[[Any], Any]:
    """As `_operand`, but an element itself for its geometry, since `_shared_shape` knows both."""
    other = _operand(field, value)
    if field not in _GEOMETRY_FIELDS:
        return other
    return lambda element: element if isinstance(element, (Feature, Image)) else other(element)


def _spatial(decide: Callable[[Any, BaseGeometry], bool], *, swap: bool = False) -> Callable[[Any, Any], bool]:
    # Images of one orbit share their footprint, so each answer is kept, and with it the shapes whose ids are its key.
    answers: dict[tuple[int, int], tuple[BaseGeometry, BaseGeometry, bool]] = {}

    def test(left: Any, right: Any) -> bool:
        first, second = _shared_shape(left), _shared_shape(right)
        if first is None or second is None:
            return False
        if swap:
            first, second = second, first
        key = id(first), id(second)
        if key not in answers:
            answers[key] = first, second, decide(prepared(longitudes.wrapped(first)), longitudes.wrapped(second))
        return answers[key][2]

    return test


def _shared_shape(value: Any) -> BaseGeometry | None:
    """As `shape_of`, but the footprint of an image as it is stored."""
    footprint = value.footprint if isinstance(value, Image) else None
    return shape_of(value) if footprint is None else footprint


def _spatial_filter(
    name: str, decide: Callable[[Any, BaseGeometry], bool], implies_overlap: bool, *, swap: bool = False
) -> None:
    @algorithm(f"Filter.{name}")
    def spatial(left_field: Any, right_value: Any, right_field: Any, left_value: Any, error: Any) -> Filter:
        fixed = right_value if left_field in _GEOMETRY_FIELDS else left_value
        query = Query(region=shape_of(fixed)) if implies_overlap else Query()
        test, left, right = (
            _spatial(decide, swap=swap),
            _shaped(left_field, left_value),
            _shaped(right_field, right_value),
        )
        return Filter(lambda first, second: test(left(first), right(second)), query)


# The constant side is prepared, because it is compared with every element.
_spatial_filter("intersects", lambda fixed, other: fixed.intersects(other), True, swap=True)
_spatial_filter("disjoint", lambda fixed, other: fixed.disjoint(other), False, swap=True)
_spatial_filter("contains", lambda left, right: left.covers(right), True)
_spatial_filter("isContained", lambda right, left: right.covers(left), True, swap=True)


@algorithm("Filter.withinDistance")
def within_distance(limit: float, left_field: Any, right_value: Any, right_field: Any, left_value: Any,
                    error: Any) -> Filter:  # fmt: skip
    def near(left: Any, right: Any) -> bool:
        first, second = shape_of(left), shape_of(right)
        if first is None or second is None:
            return False
        return geometries.distance_m(Geometry(first), Geometry(second)) <= limit

    return Filter(_pairwise(near, left_field, right_value, right_field, left_value))


@algorithm("Filter.maxDifference")
def max_difference(limit: float, left_field: Any, right_value: Any, right_field: Any, left_value: Any) -> Filter:
    test = _compared(lambda left, right: abs(left - right) <= limit)
    return Filter(_pairwise(test, left_field, right_value, right_field, left_value))


@algorithm("Filter.and")
def all_of(filters: list[Filter]) -> Filter:
    query = Query()
    for condition in filters:
        query = narrowed(query, condition.query)
    return Filter(lambda left, right: all(condition.test(left, right) for condition in filters), query)


@algorithm("Filter.or")
def any_of(filters: list[Filter]) -> Filter:
    return Filter(lambda left, right: any(condition.test(left, right) for condition in filters))


@algorithm("Filter.not")
def negated(inner: Filter) -> Filter:
    return Filter(lambda left, right: not inner.test(left, right), inner.otherwise, inner.query)


@algorithm("Filter.always")
def always() -> Filter:
    return Filter(lambda left, right: True)


@algorithm("Filter.never")
def never() -> Filter:
    return Filter(lambda left, right: False)


@algorithm("Filter.notNull")
def not_null(properties: list[str]) -> Filter:
    return Filter(lambda left, right: all(property_of(left, name) is not None for name in properties))


@algorithm("Filter.hasGeometry")
def has_geometry() -> Filter:
    return Filter(lambda left, right: element_geometry(left) is not None)


@algorithm("Filter.rangeContains")
def range_contains(field: str, low: Any, high: Any) -> Filter:
    def test(left: Any, right: Any) -> bool:
        value = _comparable(property_of(left, field))
        return value is not None and _comparable(low) <= value <= _comparable(high)

    return Filter(test)


def _calendar_field(element: Element, field: str) -> int | None:
    start = property_of(element, "system:time_start")
    if start is None:
        return None
    date = coerced_date(start)
    if field == "day_of_year":
        return date.when().timetuple().tm_yday
    if field == "day_of_month":
        return field_of(date, "day")
    if field == "day_of_week":
        return date.when().isoweekday()
    return field_of(date, "week" if field == "week_of_year" else field)


@algorithm("Filter.calendarRange")
def calendar_range(start: int, end: int | None, field: str) -> Filter:
    last = start if end is None else end

    def test(left: Any, right: Any) -> bool:
        value = _calendar_field(left, field)
        if value is None:
            return False
        return start <= value <= last if start <= last else value >= start or value <= last

    return Filter(test)


@algorithm("Filter.dayOfYear")
def day_of_year(start: int, end: int) -> Filter:
    def test(left: Any, right: Any) -> bool:
        value = _calendar_field(left, "day_of_year")
        if value is None:
            return False
        return start <= value < end if start <= end else value >= start or value < end

    return Filter(test)
