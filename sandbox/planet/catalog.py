"""The planet as a catalogue: Earth Engine's asset ids, mapped to the planet's layers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from sandbox.planet import (
    built_up,
    cloud_score,
    coherence,
    dynamic_world,
    ecoregions,
    era5,
    sentinel1,
    sentinel2,
    statics,
    tree_cover,
)
from sandbox.planet.ground import Surface
from sandbox.planet.noise import Noise
from sandbox.planet.scenes import Scene, SceneCatalog
from sandbox.planet.sky import Clouds
from sandbox.planet.world import World
from sandbox.raster.stored import Query, StoredFeature, StoredImage

_TITLES = {
    sentinel2.L1C: "Sentinel-2 Level-1C (procedural planet)",
    sentinel2.L2A: "Sentinel-2 Level-2A (procedural planet)",
    sentinel1.COLLECTION: "Sentinel-1 GRD (procedural planet)",
    cloud_score.COLLECTION: "Cloud Score+ of Sentinel-2 (procedural planet)",
    dynamic_world.COLLECTION: "Dynamic World V1 (procedural planet)",
    era5.COLLECTION: "ERA5-Land monthly aggregates (procedural planet)",
    statics.WORLDCOVER_2020: "WorldCover 2020 (procedural planet)",
    statics.WORLDCOVER_2021: "WorldCover 2021 (procedural planet)",
    coherence.COLLECTION: "Seasonal Sentinel-1 coherence (procedural planet)",
    tree_cover.COLLECTION: "MOD44B vegetation continuous fields (procedural planet)",
    built_up.COLLECTION: "GHSL built-up surface (procedural planet)",
    statics.GLO30: "Copernicus DEM GLO-30 (procedural planet)",
}
_Find = Callable[[Query], Iterable[StoredImage]]
_Named = Callable[[str], StoredImage | None]


class Planet:
    """A whole Earth from noise, deterministic per seed. Implements `sandbox.raster.stored.Catalog`. Thread-safe.

    The constructor takes one or two seconds; the region table is built on first use.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        noise = Noise(seed)
        self.world = World(seed, noise)
        self.surface = Surface(seed, noise, self.world)
        clouds = Clouds(noise)
        self.scenes = SceneCatalog(seed, self.world)
        self.radar = sentinel1.Radar(seed, self.world, noise, self.surface)
        self._painter = sentinel2.Painter(self.surface, clouds)
        self._labels = dynamic_world.Labels(self.surface, clouds)
        self._statics = statics.Statics(self.surface, self.world)
        self._coherence = coherence.Coherence(seed, self.surface, self.radar)
        self._trees = tree_cover.TreeCover(seed, self.surface)
        self._roofs = built_up.BuiltUp(seed, self.surface)
        self._months = era5.Months(seed, self.world, noise)
        self._regions: list[StoredFeature] | None = None
        self._lock = threading.Lock()
        self._collections = self._make_collections()
        self._images: dict[str, Callable[[], StoredImage]] = {
            statics.CANOPY: self._statics.canopy,
            statics.CANOPY_SD: self._statics.canopy_sd,
            statics.ASTER: self._statics.aster,
        }

    def _make_collections(self) -> dict[str, tuple[_Find, _Named]]:
        return {
            sentinel2.L1C: (self._l1c, lambda index: self._scene(index, self._l1c_image)),
            sentinel2.L2A: (self._l2a, lambda index: self._scene(index, self._l2a_image)),
            cloud_score.COLLECTION: (self._scored, lambda index: self._scene(index, self._score)),
            dynamic_world.COLLECTION: (self._labelled, lambda index: self._scene(index, self._label_image)),
            sentinel1.COLLECTION: (self.radar.find, self.radar.named),
            era5.COLLECTION: (self._months.find, self._months.named),
            coherence.COLLECTION: (self._coherence.find, self._coherence.named),
            tree_cover.COLLECTION: (self._trees.find, self._trees.named),
            built_up.COLLECTION: (self._roofs.find, self._roofs.named),
            statics.GLO30: (self._statics.glo30_find, self._statics.glo30_named),
            statics.WORLDCOVER_2020: self._cover(2020),
            statics.WORLDCOVER_2021: self._cover(2021),
        }

    def describe(self, asset_id: str) -> dict[str, Any] | None:
        """Type and properties of an asset, or None; collections and the table by their Earth Engine ids."""
        if asset_id in self._collections:
            return {"type": "IMAGE_COLLECTION", "properties": {"title": _TITLES[asset_id]}}
        if asset_id == ecoregions.TABLE:
            return {"type": "TABLE", "properties": {"title": "RESOLVE Ecoregions 2017 (procedural planet)"}}
        image = self.image(asset_id)
        if image is not None:
            return {"type": "IMAGE", "properties": dict(image.properties)}
        return {"type": "FOLDER", "properties": {}} if self.children(asset_id) else None

    def image(self, asset_id: str) -> StoredImage | None:
        if asset_id in self._images:
            return self._images[asset_id]()
        collection, _, index = asset_id.rpartition("/")
        known = self._collections.get(collection)
        return known[1](index) if known else None

    def images(self, collection_id: str, query: Query) -> Iterable[StoredImage] | None:
        """Images of a collection in order of system:index; a query for one system:index is a lookup by name.

        Raises:
            sandbox.raster.stored.QueryTooLarge: the query needs more than 5,000 images.
        """
        known = self._collections.get(collection_id)
        if known is None:
            return None
        index = dict(query.property_equals).get("system:index")
        if isinstance(index, str):
            image = known[1](index)
            return [] if image is None else [image]
        return known[0](query)

    def table(self, asset_id: str) -> list[StoredFeature] | None:
        if asset_id != ecoregions.TABLE:
            return None
        with self._lock:
            if self._regions is None:
                self._regions = ecoregions.build(self.world, self.seed)
        return self._regions

    def children(self, asset_id: str) -> list[str] | None:
        """The ids directly below a folder ("" is the root), or None for an unknown folder."""
        prefix = f"{asset_id}/" if asset_id else ""
        everything = [*self._collections, *self._images, ecoregions.TABLE]
        below = sorted({prefix + a.removeprefix(prefix).split("/")[0] for a in everything if a.startswith(prefix)})
        return below if below and asset_id not in self._collections else None

    def _cover(self, year: int) -> tuple[_Find, _Named]:
        def find(query: Query) -> list[StoredImage]:
            image = self._statics.worldcover(year)
            start = int(image.properties["system:time_start"])
            late = query.start_ms is not None and start < query.start_ms
            early = query.end_ms is not None and start >= query.end_ms
            return [] if late or early else [image]

        return find, lambda index: self._statics.worldcover(year) if index == str(year) else None

    def _scene(self, index: str, make: Callable[[Scene], StoredImage | None]) -> StoredImage | None:
        scene = self.scenes.named(index)
        return None if scene is None else make(scene)

    def _l1c_image(self, scene: Scene) -> StoredImage:
        return self._painter.image(scene, "1C")

    def _l2a_image(self, scene: Scene) -> StoredImage | None:
        if not scene.has_surface:
            return None
        return self._painter.image(scene, "2A")

    def _label_image(self, scene: Scene) -> StoredImage | None:
        return self._labels.images([scene])[0] if dynamic_world.is_labelled(scene, self.seed) else None

    def _score(self, scene: Scene) -> StoredImage:
        return cloud_score.image(self._painter, scene)

    def _scored(self, query: Query) -> list[StoredImage]:
        return [self._score(scene) for scene in self.scenes.find(query)]

    def _l1c(self, query: Query) -> list[StoredImage]:
        return [self._l1c_image(scene) for scene in self.scenes.find(query)]

    def _l2a(self, query: Query) -> list[StoredImage]:
        return [image for scene in self.scenes.find(query) if (image := self._l2a_image(scene))]

    def _labelled(self, query: Query) -> list[StoredImage]:
        scenes = self.scenes.find(query, dynamic_world.MAX_CLOUD)
        return self._labels.images([scene for scene in scenes if dynamic_world.is_labelled(scene, self.seed)])
