"""STAC items as they are published: STAC-GeoParquet, item collections, or folders of items as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from exporters.files.moment import moment_of
from pipeline.errors import Fatal

_CORE = ("id", "geometry", "bbox", "assets", "links", "collection", "type", "stac_version", "stac_extensions")
_TIMES = ("datetime", "start_datetime", "end_datetime", "created", "updated")
_PLAIN = (str, int, float, bool)


@dataclass(frozen=True)
class StacItem:
    """An item: `assets` are the addresses of its files by key, `properties` those that are plain values."""

    id: str
    time: datetime | None
    assets: Mapping[str, str]
    properties: Mapping[str, Any]


def read_items(path: Path) -> Iterator[StacItem]:
    """The items of a Parquet file, of a JSON file, or of all JSON files below a folder.

    Relative addresses are made absolute. Raises `Fatal` for what is not there or holds no items.
    """
    if path.suffix.lower() in (".parquet", ".geoparquet"):
        yield from _from_parquet(path)
        return
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    count = 0
    for file in files:
        for item in _from_json(file):
            count += 1
            yield item
    if not count:
        raise Fatal(f"{path} holds no STAC items; give STAC-GeoParquet, or JSON files of items.")


def _from_parquet(path: Path) -> Iterator[StacItem]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=4096):
                for row in batch.to_pylist():
                    yield _item(row, {key: value for key, value in row.items() if key not in _CORE}, path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise Fatal(f"{path} cannot be read as STAC-GeoParquet ({error}); check the path.") from error


def _from_json(path: Path) -> Iterator[StacItem]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Fatal(f"{path} cannot be read as JSON ({error}); check the path.") from error
    features = data.get("features", [data]) if isinstance(data, dict) else []
    yield from (_item(one, one.get("properties") or {}, path) for one in features if one.get("type") == "Feature")


def _item(row: Mapping[str, Any], properties: Mapping[str, Any], path: Path) -> StacItem:
    try:
        assets = {key: _address(asset["href"], path) for key, asset in row["assets"].items() if asset}
        when = next((properties[key] for key in _TIMES[:2] if properties.get(key)), None)
        plain = {key: value for key, value in properties.items() if isinstance(value, _PLAIN) and key not in _TIMES}
        return StacItem(str(row["id"]), _moment(when), assets, plain)
    except (KeyError, TypeError, AttributeError) as error:
        raise Fatal(f"{path} holds an item without {error}, so it is no STAC item; leave it out.") from error


def _moment(value: datetime | str | None) -> datetime | None:
    return moment_of(value.isoformat() if isinstance(value, datetime) else value) if value else None


def _address(href: str, path: Path) -> str:
    if "://" in href or href.startswith("/"):
        return href.removeprefix("file://")
    return str((path.parent / href).resolve())
