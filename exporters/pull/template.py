"""A layer's graph with places for a chip's images: built by the client once, and filled in for every chip.

The client checks and wraps every argument of every call anew, which takes most of an export's own time. What a layer
computes from its images is the same for every chip, so that only these are put in.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ee

from exporters.earth_engine.expression import encoded
from exporters.sources import Loaded

_PLACE = "geocorpus place {}"  # as the name of an argument, which no graph of the client's has
_TRIED = 2  # chips whose graphs are built both ways first
Parts = Sequence[Loaded]
Build = Callable[[Parts], ee.Image]


class Template:
    """The graphs of one layer, one for each kind of images that a chip may have. Safe for many threads.

    `build` makes a chip's image from what is loaded for it. The first chips' are made both ways and compared; where
    they differ (a function that is mapped over a collection contains a chip's image), `build` is called every time.
    """

    def __init__(self, build: Build) -> None:
        self._build = build
        self._known: dict[tuple[type, ...], ee.Image | None] = {}
        self._tried: dict[tuple[type, ...], int] = {}
        self._lock = threading.Lock()

    def image(self, parts: Parts) -> ee.Image:
        """The image of a chip for which these parts are loaded."""
        kinds = tuple(type(part) for part in parts)
        if self._tried.get(kinds, 0) < _TRIED:
            return self._compared(kinds, parts)
        known = self._known[kinds]
        return self._build(parts) if known is None else filled(known, parts)

    def _compared(self, kinds: tuple[type, ...], parts: Parts) -> ee.Image:
        image = self._build(parts)
        with self._lock:
            tried = self._tried.get(kinds, 0)
            if tried == 0:
                self._known[kinds] = _with_places(self._build, parts)
            known = self._known[kinds]
            if known is not None and encoded(filled(known, parts)) != encoded(image):
                self._known[kinds] = None
            self._tried[kinds] = tried + 1
        return image


def _with_places(build: Build, parts: Parts) -> ee.Image | None:
    """What is built from places instead of images; None where they are looked into."""
    try:
        return build([_place(number, part) for number, part in enumerate(parts)])
    except Exception:  # a layer's own code; with the chip's images it has just succeeded
        return None


def _place(number: int, part: Loaded) -> Loaded:
    if part is None:
        return None
    kind: Any = type(part)
    place: Loaded = kind._cast(ee.ComputedObject(None, None, _PLACE.format(number)))
    return place


def filled(template: ee.Image, parts: Parts) -> ee.Image:
    """The template with these parts in their places; nodes without any are those of the template."""
    places = {_PLACE.format(number): part for number, part in enumerate(parts)}
    return _filled(template, places, {})


def _filled(item: Any, places: Mapping[str, Any], known: dict[int, Any]) -> Any:
    if isinstance(item, ee.ComputedObject):
        if id(item) not in known:
            known[id(item)] = _filled_object(item, places, known)
        return known[id(item)]
    if isinstance(item, list | tuple):
        values = [_filled(value, places, known) for value in item]
        return item if _same(values, item) else values
    return item


def _filled_object(item: ee.ComputedObject, places: Mapping[str, Any], known: dict[int, Any]) -> Any:
    if item.args is None:
        return places.get(item.varName or "", item)
    values = [_filled(value, places, known) for value in item.args.values()]
    if _same(values, item.args.values()):
        return item
    result = copy.copy(item)
    result.args = dict(zip(item.args, values, strict=True))
    return result


def _same(values: Sequence[Any], others: Any) -> bool:
    return all(value is other for value, other in zip(values, others, strict=True))
