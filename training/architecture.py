"""What decides the shape of an encoder: enough to build it again around stored weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from training.size import SIZES, Size

Stem = Literal["modified", "original"]
GrnScope = Literal["image", "batch"]
InitStd = Literal["fixed", "fan-in"]

STAGES = 4
STEMS: tuple[Stem, ...] = ("modified", "original")
GRN_SCOPES: tuple[GrnScope, ...] = ("image", "batch")
INIT_STDS: tuple[InitStd, ...] = ("fixed", "fan-in")


@dataclass(frozen=True)
class Architecture:
    """`channels` of the input, the depths and widths, and the edge of a patch: one output site per patch.

    `stem` "modified" is MP-MAE's, which keeps full resolution in a first convolution; "original" is ConvNeXt V2's one
    convolution. `response` says over what a response is normalised, see `encoder.ResponseNorm`.
    """

    channels: int
    size: Size
    patch_px: int
    stem: Stem = "modified"
    response: GrnScope = "image"

    @property
    def stem_stride(self) -> int:
        """Pixels per site of the first stage; three halvings between the stages do the rest of a patch."""
        return self.patch_px // 2 ** (STAGES - 1)

    @property
    def size_name(self) -> str | None:
        """The name of its size in `SIZES`, if it has one."""
        return next((name for name, size in SIZES.items() if size == self.size), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` gives the same architecture back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Architecture:
        """The architecture that `to_dict` described."""
        size = Size(tuple(plain["size"]["depths"]), tuple(plain["size"]["widths"]))
        return cls(**{**plain, "size": size})
