"""How near our requests come to Earth Engine's limits of one expression: its size, and how deep it is nested."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporters import catalog
from exporters.anchor import anchoring
from exporters.anchor.anchor_rules import AnchorRules
from exporters.earth_engine.client import EarthEngine
from exporters.pull.pull import Puller
from exporters.sources import Pixels, Region
from pipeline.locations import Locations
from pipeline.progress import Silent
from tests.exporters.chips import chip, location
from tests.exporters.tiny_earth import day

MOST_BYTES, MOST_CALLS, MOST_LEVELS = 100_000, 40, 60


@pytest.fixture
def sent(engine: EarthEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """The bodies of all requests that compute something."""
    bodies: list[bytes] = []
    exchange = engine._transport._exchange

    def recorded(uri: str, method: str, body: Any, headers: Any) -> Any:
        if method == "POST":
            bodies.append(body if isinstance(body, bytes) else body.encode())
        return exchange(uri, method, body, headers)

    monkeypatch.setattr(engine._transport, "_exchange", recorded)
    yield bodies
    assert bodies


def calls_within_calls(values: dict[str, Any], node: Any) -> int:
    """The longest chain of functions, through references."""
    if isinstance(node, list):
        return max((calls_within_calls(values, each) for each in node), default=0)
    if not isinstance(node, dict):
        return 0
    below = [calls_within_calls(values, each) for each in node.values()]
    for name in ("valueReference", "body", "functionReference"):
        if isinstance(node.get(name), str):
            below.append(calls_within_calls(values, values[node[name]]))
    return ("functionName" in node) + max(below, default=0)


def levels(node: Any) -> int:
    """How deep the JSON is nested."""
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else None
    return 0 if inner is None else 1 + max((levels(each) for each in inner), default=0)


def hold(bodies: list[bytes]) -> None:
    for body in bodies:
        expression = json.loads(body)["expression"]
        called = calls_within_calls(expression["values"], expression["values"][expression["result"]])
        assert len(body) < MOST_BYTES and called < MOST_CALLS and levels(expression) < MOST_LEVELS


def test_pixels_of_a_chip(engine: EarthEngine, sent: list[bytes]) -> None:
    layers = [layer for layer in catalog.modalities(None) if isinstance(layer.source, Pixels)]
    Puller(engine).pixels(chip(day(2019, 6, 2), "l2a", day(2019, 6, 5), day(2019, 5, 30)), layers)
    hold(sent)


def test_means_of_many_chips(engine: EarthEngine, sent: list[bytes]) -> None:
    puller = Puller(engine)
    layers = [layer for layer in catalog.modalities(None) if isinstance(layer.source, Region)]
    puller.regions([chip(day(2019, 6, 2), row=row) for row in range(puller.rows.limit)], layers)
    hold(sent)


def test_scenes_of_200_places(engine: EarthEngine, sent: list[bytes], tmp_path: Path) -> None:
    places = Locations.of([location(index) for index in range(200)])
    rules = AnchorRules(years=(2017, 2018, 2019, 2020), size_px=12)
    anchoring.anchor(engine, places, {"7": 200}, rules, tmp_path, Silent())
    hold(sent)
