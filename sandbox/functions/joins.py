"""Joins of two collections by a filter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sandbox.functions.element_collections import Collection, sort_key
from sandbox.functions.features import Element, Feature, property_of, with_property
from sandbox.functions.filters import Filter
from sandbox.functions.image_bands import add_bands, select
from sandbox.functions.images import Image, constant_band
from sandbox.registry import REGISTRY, algorithm


@dataclass(frozen=True)
class Join:
    """`join(element, matches)` gives the results for one primary element and its matches."""

    join: Callable[[Element, list[Element]], list[Any]]


@algorithm("Join.simple")
def simple() -> Join:
    return Join(lambda element, matches: [element] if matches else [])


@algorithm("Join.inverted")
def inverted() -> Join:
    return Join(lambda element, matches: [] if matches else [element])


def _ordered(matches: list[Element], key: str | None, ascending: bool) -> list[Element]:
    if key is None:
        return matches
    return sorted(matches, key=lambda match: sort_key(property_of(match, key)), reverse=not ascending)


@algorithm("Join.saveFirst")
def save_first(key: str, ordering: str | None, ascending: bool, measure: str | None, outer: bool) -> Join:
    def join(element: Element, matches: list[Element]) -> list[Any]:
        best = _ordered(matches, ordering, ascending)[:1]
        return [with_property(element, key, best[0])] if best else [element] if outer else []

    return Join(join)


@algorithm("Join.saveAll")
def save_all(key: str, ordering: str | None, ascending: bool, measure: str | None, outer: bool) -> Join:
    def join(element: Element, matches: list[Element]) -> list[Any]:
        if not matches and not outer:
            return []
        return [with_property(element, key, _ordered(matches, ordering, ascending))]

    return Join(join)


@algorithm("Join.inner")
def inner(first: str, second: str, measure: str | None) -> Join:
    return Join(lambda element, matches: [Feature(None, {first: element, second: match}) for match in matches])


@algorithm("Image.linkCollection")
def link(image: Image, candidates: Collection, bands: Any, properties: Any, key: str) -> Image:
    """Bands and properties of the image that has the same property `key`; masked and null where there is none."""
    same = REGISTRY["Filter.equals"](key, property_of(image, key), None, None)
    match = next(iter(candidates.filtered(same)), None)
    names, wanted = ([] if item is None else item if isinstance(item, list) else [item] for item in (bands, properties))
    for name in names:
        masked = REGISTRY["Image.selfMask"](Image((constant_band(name, 0),)))
        image = add_bands(image, masked if match is None else select(match, [name], None), None, True)
    for name in wanted:
        image = with_property(image, name, None if match is None else property_of(match, name))
    return image


@algorithm("Join.apply")
def apply(join: Join, primary: Collection, secondary: Collection, condition: Filter) -> Collection:
    def joined(query: Any) -> Iterator[Any]:
        candidates = secondary.elements()
        for element in primary:
            yield from join.join(element, [candidate for candidate in candidates if condition.test(element, candidate)])

    return Collection(joined, primary.of_images)
