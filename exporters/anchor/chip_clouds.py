"""How much of a chip clouds cover in the scenes that may serve it: asked of the few best ones, before one is pinned.

The answer is computed on the chip's own pixels by the graph of the layer that tells clouds, so that it is the share
which the chip is measured to have once it is pulled (`exporters.quality.sky`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import ee

from exporters import catalog, scenes
from exporters.anchor.anchor_rules import Anchor, AnchorRules
from exporters.anchor.outcomes import grid_of
from exporters.earth_engine.batch_size import AdaptiveBatchSize
from exporters.earth_engine.client import EarthEngine
from exporters.sources import Pixels
from pipeline.chip import Acquisition, Chip, Scene
from pipeline.errors import Fatal, Transient
from pipeline.grid import Grid
from pipeline.location import Location
from pipeline.modality import Modality
from pipeline.observed import Observed

# How many scenes of a place are asked about, round by round, while none is clear. Under the scenes' own limit the first
# one mostly is (of 100 places of the sandbox's planet 96), so the first round has it alone.
ROUNDS = (1, 3, 8)
# Each place is an aggregation, of which Earth Engine refuses some 20 in one request; few at first, more if it allows.
_FIRST_PLACES, _MOST_PLACES, _PATIENCE = 12, 64, 16
_DECIMALS = 2  # as of the share that is measured


@dataclass(frozen=True)
class _Question:
    """Scenes of one place that have one grid; `index` is the place's in its batch."""

    index: int
    grid: Grid
    anchors: tuple[Anchor, ...]


class ChipClouds:
    """Takes for each place the first of its scenes in which clouds cover at most `rules.max_chip_cloud_percent`."""

    def __init__(self, engine: EarthEngine, rules: AnchorRules) -> None:
        """Raises `Fatal` where scenes of a level have no layer that tells clouds."""
        refuse_untold_levels(rules)
        self._engine, self._rules = engine, rules
        self._at_once = engine.at_once("places", AdaptiveBatchSize(_MOST_PLACES, _FIRST_PLACES, _PATIENCE))

    def first_clear(
        self, lonlat: Sequence[Sequence[float]], ranked: Mapping[int, Sequence[Anchor]]
    ) -> dict[int, Anchor | None]:
        """By place, of scenes in the order in which they are wanted; None where none of the best is clear enough.

        `lonlat` are degrees, by place. A scene of which it is not known, as it has no class there, is not taken.
        """
        found: dict[int, Anchor | None] = dict.fromkeys(ranked)
        for number, count in enumerate(ROUNDS):
            tried = sum(ROUNDS[:number])
            asked = {index: anchors[tried : tried + count] for index, anchors in ranked.items() if found[index] is None}
            percent = self._percent(lonlat, asked)
            for index, anchors in asked.items():
                clear = (each for each in anchors if self._is_clear(percent[index, each]))
                found[index] = next(clear, None)
        return found

    def _is_clear(self, percent: float | None) -> bool:
        limit = self._rules.max_chip_cloud_percent
        return percent is not None and limit is not None and percent <= limit

    def _percent(
        self, lonlat: Sequence[Sequence[float]], asked: Mapping[int, Sequence[Anchor]]
    ) -> dict[tuple[int, Anchor], float | None]:
        """The share of clouds, in percent, of each place and scene."""
        pairs = asked.items()
        questions = [each for index, anchors in pairs for each in self._questions(index, lonlat[index], anchors)]
        shares: dict[tuple[int, Anchor], float | None] = {}
        for answer in self._at_once.ask(questions, self._answer):
            shares |= answer
        return shares

    def _questions(self, index: int, lonlat: Sequence[float], anchors: Sequence[Anchor]) -> Iterator[_Question]:
        """Where tiles overlap, scenes of two zones may serve a place, on two grids."""
        place = lonlat[0], lonlat[1]
        on_grids = [(grid_of(place, each.scene.tile, self._rules), each) for each in anchors]
        for _, group in groupby(sorted(on_grids, key=_crs), key=_crs):
            members = list(group)
            yield _Question(index, members[0][0], tuple(anchor for _, anchor in members))

    def _answer(self, questions: Sequence[_Question]) -> dict[tuple[int, Anchor], float | None]:
        rows = self._engine.value(ee.List([_shares(item, self._layer) for item in questions]))
        if not isinstance(rows, list) or len(rows) != len(questions):
            raise Transient(f"the clouds over {len(questions)} places did not arrive whole.")
        return {
            (item.index, anchor): _in_percent(row.get(_name(number)))
            for item, row in zip(questions, rows, strict=True)
            for number, anchor in enumerate(item.anchors)
        }

    @cached_property
    def _layer(self) -> Modality:
        return telling_layer()


def _crs(pair: tuple[Grid, Anchor]) -> str:
    return pair[0].crs


def _in_percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, _DECIMALS)


def telling_layer() -> Modality:
    """Of the layers that can be asked for, the one that is believed first about clouds. Raises `Fatal` without any."""
    layers = [layer for layer in catalog.modalities() if _is_askable(layer)]
    if not layers:
        raise Fatal("no layer tells where clouds are; leave anchor.max_chip_cloud_percent out.")
    return min(layers, key=lambda layer: (layer.observed.cloud_rank if layer.observed else None, layer.name))


def _is_askable(layer: Modality) -> bool:
    """A detector runs here, and not at Earth Engine."""
    observed = layer.observed
    return isinstance(layer.source, Pixels) and observed is not None and observed.tells_clouds_by_value


def refuse_untold_levels(rules: AnchorRules) -> None:
    """Raise `Fatal` if clouds over a chip are limited, and scenes of a level that may serve have no layer of them."""
    if rules.max_chip_cloud_percent is None:
        return
    assets = telling_layer().assets
    untold = [level for level in rules.levels if scenes.OPTICAL[level] not in assets]
    if untold:
        told = [level for level in scenes.OPTICAL if scenes.OPTICAL[level] in assets]
        raise Fatal(
            f"anchor.max_chip_cloud_percent needs cloud layers, which scenes of level {untold[0]} do not have; "
            f"give anchor.levels = {told}."
        )


def _shares(question: _Question, layer: Modality) -> ee.Dictionary:
    """The share of clouds in each scene, by `_name`: one aggregation, on exactly the pixels of the chip."""
    grid = question.grid
    images = [_cloudy(question, anchor, layer).rename(_name(n)) for n, anchor in enumerate(question.anchors)]
    rectangle = ee.Geometry.Rectangle(list(grid.bounds_xy), proj=grid.crs, geodesic=False)
    (x, y), size = grid.origin_xy, grid.resolution_m
    return ee.Image.cat(images).reduceRegion(
        ee.Reducer.mean().unweighted(), rectangle, crs=grid.crs, crsTransform=[size, 0, x, 0, -size, y]
    )


def _name(number: int) -> str:
    return f"scene{number}"


def _cloudy(question: _Question, anchor: Anchor, layer: Modality) -> ee.Image:
    """1 where a cloud is, 0 where none is, masked where it is not known."""
    source, observed = layer.source, layer.observed
    if not isinstance(source, Pixels) or observed is None:
        raise Fatal(f"modality {layer.name!r} tells no clouds by pixels; this is a fault of the exporter.")
    scene = Scene.at_ms(f"{scenes.OPTICAL[anchor.level]}/{anchor.scene.index}", anchor.scene.time_ms)
    chip = Chip(Location("", 0.0, 0.0), question.grid, Acquisition(scene, anchor.level))
    return _clouds(source.physical(chip, layer.resampling).select([0]), observed)


def _clouds(values: ee.Image, observed: Observed) -> ee.Image:
    classes = observed.classes
    if classes is None:
        return values.gte(observed.cloud_from or 0.0)
    is_cloud = _any_of(values, classes.cloud)
    return is_cloud.updateMask(_any_of(values, classes.unknown).Not()) if classes.unknown else is_cloud


def _any_of(codes: ee.Image, wanted: Sequence[int]) -> Any:
    result = codes.eq(wanted[0])
    for code in wanted[1:]:
        result = result.Or(codes.eq(code))
    return result
