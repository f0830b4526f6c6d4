"""What an encoder or a fine-tuned model says of tiles of an area, given in the units of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.encoding import stored_values
from pipeline.errors import Fatal, unknown_name
from pipeline.modality import Modality
from pipeline.statistics import EVERYTHING
from training.batch import Batch, Raw
from training.data.prepare import Preparation
from training.evaluate.embedder import kept_of
from training.evaluate.encoder_view import EncoderView
from training.evaluate.finetuned import Finetuned
from training.model.normalisation import Normalisation
from training.model.units import stored_from_physical

_TILE_PX = 128
Physical = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class AreaFeatures:
    """Features of the patches of tiles by one encoder, on a device, `without` sensors or channels.

    `level` is the group of statistics of the area's values, None where there is one for all.
    """

    view: EncoderView
    device: torch.device
    level: str | None = None
    without: tuple[str, ...] = ()

    @property
    def normalisation(self) -> Normalisation:
        """The layers that are looked at."""
        return self.view.normalisation

    @property
    def cell_px(self) -> int:
        """The edge of what has an answer of its own: a patch."""
        return self.view.encoder.patch_px

    @property
    def bands(self) -> int:
        """Numbers of an answer."""
        return self.view.encoder.width

    @property
    def tile_px(self) -> int:
        """The edge of a tile: what a tower was trained on, or about 128."""
        return self.view.chip_px(_TILE_PX)

    def of(self, physical: Physical) -> NDArray[np.float32]:
        """Features (tiles, bands, y, x) of values (tiles, bands, y, x) in their units by layer; NaN for no data."""
        stored = _stored(self.normalisation, physical)
        batch = _batch(self.normalisation, stored, self.level, self.device)
        with torch.inference_mode():
            features, _ = self.view.of_patches(self.normalisation.layers, batch, kept_of([self.view], self.without))
        return np.asarray(features.cpu().numpy(), np.float32)


@dataclass(frozen=True)
class AreaEstimates:
    """What a fine-tuned model says of tiles: of each pixel, or of the whole tile, by what it was fine-tuned on.

    `cell_px` is the edge of what has an answer of its own: 1 for pixels, else that of the images that it learned from.
    """

    tuned: Finetuned
    cell_px: int = 1
    level: str | None = None

    @classmethod
    def of_model(cls, tuned: Finetuned, level: str | None) -> AreaEstimates:
        """Raises `Fatal` for a model of whole images that does not say their size, or whose images are no squares."""
        if tuned.dense:
            return cls(tuned, level=level)
        if tuned.image_yx is None:
            raise Fatal(
                "this model gives one answer per image, and its file is older than the size of images in it; "
                "fine-tune it again for a map of an area."
            )
        height, width = tuned.image_yx
        if height != width:
            raise Fatal(f"this model learned from images of {height} x {width} px, and a map of an area needs squares.")
        return cls(tuned, height, level)

    @property
    def normalisation(self) -> Normalisation:
        """The layers that are looked at."""
        return self.tuned.normalisation

    @property
    def bands(self) -> int:
        """Classes, labels, or columns of numbers."""
        return len(self.tuned.classes)

    @property
    def tile_px(self) -> int:
        """The edge of a tile: about 128, or that of the images of a model of whole images."""
        if not self.tuned.dense:
            return self.cell_px
        patch_px = self.tuned.model.encoder.patch_px
        return max(patch_px, _TILE_PX // patch_px * patch_px)

    def of(self, physical: Physical) -> NDArray[np.float32]:
        """`Finetuned.estimates` (tiles, names, y, x) of values (tiles, bands, y, x) in their units; NaN without data.

        One cell (tiles, names, 1, 1) of a model of whole images.
        """
        stored = _stored(self.normalisation, physical)
        seen = np.logical_or.reduce([
            layer.modality.valid(stored[layer.name]).any(axis=1) for layer in self.normalisation.layers
        ])  # fmt: skip
        result = self.tuned.estimates(stored, _group(self.normalisation, self.level))
        if not self.tuned.dense:
            result, seen = result[:, :, None, None], seen.any(axis=(1, 2), keepdims=True)
        return np.where(seen[:, None], result, np.float32(np.nan))


AreaModel = AreaFeatures | AreaEstimates


def check_units(normalisation: Normalisation, physical: Physical) -> None:
    """Raise `Fatal` for values, some of an area's, that are not in the units of their layers."""
    for layer in normalisation.layers:
        stored_from_physical(layer.modality, physical[layer.name])


def _stored(normalisation: Normalisation, physical: Physical) -> dict[str, NDArray[np.generic]]:
    return {
        layer.name: stored_values(layer.modality, _within(layer.modality, physical[layer.name]))
        for layer in normalisation.layers
    }


def _within(modality: Modality, physical: NDArray[np.float64]) -> NDArray[np.float64]:
    """Codes that are no class as no data: a map of classes may know more of them than the weights."""
    if not modality.categories:
        return physical
    return np.where(np.isin(physical, modality.codes), physical, np.nan)


def _group(normalisation: Normalisation, level: str | None) -> str:
    """The group of statistics, of all layers; raises `Fatal` where there are several, and it is not said which."""
    groups = [set(layer.groups) for layer in normalisation.layers if layer.modality.statistics_by is not None]
    known = sorted(set().union(*groups))
    if not known:
        return EVERYTHING
    if level is None and len(known) == 1:
        return known[0]
    if level is None:
        raise Fatal(f"these weights know values of {', '.join(known)}; say which the rasters hold with --level.")
    if level not in known:
        raise unknown_name("value of --level:", level, known)
    return level


def _batch(
    normalisation: Normalisation, stored: Mapping[str, NDArray[np.generic]], level: str | None, device: torch.device
) -> Batch:
    group, tiles = _group(normalisation, level), len(next(iter(stored.values())))
    groups = {
        layer.name: torch.from_numpy(layer.group_indices([group] * tiles))
        for layer in normalisation.layers
        if layer.modality.statistics_by is not None
    }
    tensors = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in stored.items()}
    raw = Raw(tensors, groups, torch.zeros(0, dtype=torch.bool), ())
    return Preparation(normalisation.layers, device)(raw.to(device))
