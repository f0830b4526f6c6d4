"""The attributes of a group of embeddings by the Zarr convention `geoemb:` (geo-embeddings, a proposal of 2026)."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from exporters.formats.embeddings.description import Description, View

NAME, UUID = "geoemb:", "61c12cc5-0e28-4056-999a-480cf3fb7e4c"
_ADDRESS = "https://github.com/geo-embeddings/embeddings-zarr-convention"


def registration() -> dict[str, str]:
    """How a group says that it follows the convention."""
    return {
        "uuid": UUID, "name": NAME, "spec_url": f"{_ADDRESS}/blob/v1/README.md",
        "schema_url": "https://raw.githubusercontent.com/geo-embeddings/embeddings-zarr-convention/refs/tags/v1/schema.json",
    }  # fmt: skip


def attributes_of(description: Description, view: View, resolution_m: float, data_type: str) -> dict[str, Any]:
    """The attributes of the group of a view; `resolution_m` is that of the chips' own pixels."""
    patch_px = description.image_px // description.shape[-1] if description.per_patch else 1
    return {
        "zarr_conventions": [registration()],
        "geoemb:type": "pixel" if description.per_patch else "chip",
        "geoemb:dimensions": description.width,
        "geoemb:model": description.model,
        "geoemb:source_data": list(view.sources),
        "geoemb:data_type": data_type,
        "geoemb:gsd": resolution_m * patch_px,
        "geoemb:build_version": f"geocorpus {version('geocorpus')}",
        **({} if description.per_patch else {"geoemb:chip_layout": _layout(description)}),
        "channels": list(view.channels),
    }


def _layout(description: Description) -> dict[str, Any]:
    return {"layout_type": "irregular", "chip_size": [description.image_px] * 2}
