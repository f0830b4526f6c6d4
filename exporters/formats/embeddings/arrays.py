"""Arrays of a Zarr group, of which zarr-python says that they may be groups."""

from __future__ import annotations

from typing import Any, cast

import zarr


def array_in(group: zarr.Group, path: str) -> zarr.Array[Any]:
    """The array at `path` below `group`; raises `KeyError` where there is none."""
    return cast("zarr.Array[Any]", group[path])
