"""What embeddings are of, and by which model: kept with them, so that nobody takes them for others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class View:
    """A way of looking at a chip: its name, the channels it looks at ("sentinel2.B8"), and the sources of these."""

    name: str
    channels: tuple[str, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Description:
    """`views` of `shape`, (width,) for a vector per chip or (width, y, x) for one per patch of it.

    `image_px` is the edge of the centre that was looked at. `model` is the address of the weights, `model_digest` the
    SHA-256 of their bytes, `corpus_digest` that of the corpus's manifest, `without` what was left out,
    `weights` the name of their file or run.
    """

    views: tuple[View, ...]
    shape: tuple[int, ...]
    image_px: int
    model: str
    model_digest: str
    corpus_digest: str
    without: tuple[str, ...] = ()
    weights: str = ""

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self.shape[0]

    @property
    def per_patch(self) -> bool:
        """Whether a chip has a vector for each of its patches."""
        return len(self.shape) > 1

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the views."""
        return tuple(view.name for view in self.views)

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` gives the same description back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Description:
        """The description that `to_dict` gave."""
        views = tuple(View(item["name"], tuple(item["channels"]), tuple(item["sources"])) for item in data["views"])
        lists = {name: tuple(data[name]) for name in ("shape", "without")}
        return cls(**{**data, **lists, "views": views})
