"""Several catalogues as one: an asset comes from the first catalogue that holds its id."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from sandbox.raster.stored import Catalog, Query, StoredFeature, StoredImage

Result = TypeVar("Result")


class Catalogs:
    """A Catalog over several catalogues, in order of precedence.

    Collections are merged: if two catalogues hold the same collection, it has the images of both.
    """

    def __init__(self, *members: Catalog) -> None:
        self._members = members

    def _first(self, call: Callable[[Catalog], Result | None]) -> Result | None:
        return next((result for member in self._members if (result := call(member)) is not None), None)

    def describe(self, asset_id: str) -> dict[str, Any] | None:
        return self._first(lambda member: member.describe(asset_id))

    def image(self, asset_id: str) -> StoredImage | None:
        return self._first(lambda member: member.image(asset_id))

    def images(self, collection_id: str, query: Query) -> Iterable[StoredImage] | None:
        answers = [answer for m in self._members if (answer := m.images(collection_id, query)) is not None]
        if len(answers) <= 1:
            return answers[0] if answers else None
        merged = {image.asset_id: image for answer in reversed(answers) for image in answer}
        return [merged[asset_id] for asset_id in sorted(merged)]

    def table(self, asset_id: str) -> list[StoredFeature] | None:
        return self._first(lambda member: member.table(asset_id))

    def children(self, asset_id: str) -> list[str] | None:
        result = [ids for member in self._members if (ids := member.children(asset_id)) is not None]
        return sorted({child for ids in result for child in ids}) if result else None
