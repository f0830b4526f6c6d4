"""The normalisation stored with an encoder: its input layers, their bands in order, and their moments per group."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import Fatal, unknown_name
from pipeline.modality import Modality
from pipeline.statistics import EVERYTHING
from training.layer import Layer
from training.model.image import image_of
from training.model.named_bands import bands_in_order, coordinate
from training.model.units import stored_from_physical, stored_numbers
from training.standardiser import Moments

_WHERE_SO = ("presence", "hide_outside")  # stored where it is so; older files know neither
Groups = str | Sequence[str] | Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Normalisation:
    """Turns stored values into the input of an encoder; each of `layers` has only the bands in use, in order."""

    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> Normalisation:
        """The normalisation of a model with these inputs, without the bands that they do not use."""
        return cls(tuple(_restricted(layer) for layer in layers))

    @property
    def channels(self) -> int:
        """Channels of the image: one per band, or per class of a band, and the planes of `presence`."""
        return sum(layer.input_channels for layer in self.layers)

    @property
    def band_names(self) -> dict[str, tuple[str, ...]]:
        """The bands that `image` expects of every layer, in this order."""
        return {layer.name: layer.modality.band_names for layer in self.layers}

    def image(self, stored: Mapping[str, Any], groups: Groups | None = None) -> Tensor:
        """The input (rows, channels, y, x) float32 of stored numbers (rows, bands, y, x) by layer, as in a corpus.

        Numbers are those of `Corpus.read` or `OpenChip.stored`, nodata included, not in the bands' units: those go to
        `image_from_physical`. A DataArray of xarray may hold its bands in any order and others as well, if it names
        them; otherwise bands are those of `band_names`, in that order, which nothing can check.

        `groups` is one group for all rows, a sequence of one group per row, or such a sequence by layer. For a layer
        with `statistics_by` "level" it is the processing level, and None takes it from the coordinate of that name; a
        layer without `statistics_by` ignores it. A layer with `presence` need not be given, and of one with "bands" an
        array that names its bands may lack some. Raises `Fatal` for another that is not, a wrong number of bands,
        numbers that cannot be the stored ones, or a group without moments.
        """
        values, valid = {}, {}
        for layer in self._layers_in(stored):
            given = stored[layer.name]
            absent = layer.modality.fill if layer.presence == "bands" else None
            array = stored_numbers(layer.modality, bands_in_order(layer.modality, given, absent))
            numbers, known = layer.values(array, _groups(layer, groups, given, len(array)))
            values[layer.name], valid[layer.name] = torch.from_numpy(numbers), torch.from_numpy(known)
        size = next(iter(values.values())).shape
        for layer in self.layers:
            if layer.name not in values:
                values[layer.name], valid[layer.name] = _nothing(layer, size)
        return image_of(self.layers, values, valid)

    def _layers_in(self, arrays: Mapping[str, Any]) -> list[Layer]:
        """The layers that are given; raises `Fatal` for one that is not and has to be, or where none is."""
        given = [layer for layer in self.layers if layer.name in arrays or not layer.presence]
        for layer in given or self.layers:
            if layer.name not in arrays:
                known = f"only {', '.join(sorted(arrays))}" if arrays else "none"
                raise Fatal(f"these weights need layer {layer.name!r}, and {known} were given; add it.")
        return given

    def image_from_physical(self, physical: Mapping[str, Any], groups: Groups | None = None) -> Tensor:
        """The input of values in the bands' units, as `Corpus.xarray()` and `OpenChip.physical` have them.

        Classes are codes; NaN, infinity and masked values are no data. A Dataset of xarray will do. Everything else is
        as for `image`; raises `Fatal` as that does, and for numbers that cannot be in the bands' units.
        """
        if groups is None:
            groups = {layer.name: _groups_at_hand(layer, physical[layer.name]) for layer in self._layers_in(physical)}
        return self.image(self.stored(physical), groups)

    def stored(self, physical: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Stored numbers (rows, bands, y, x) by layer of values in the bands' units, by the rule of the export.

        Takes and raises what `image_from_physical` does.
        """
        layers = self._layers_in(physical)
        absent = {layer.name: math.nan if layer.presence == "bands" else None for layer in layers}
        given = {
            layer.name: bands_in_order(layer.modality, physical[layer.name], absent[layer.name]) for layer in layers
        }
        return {layer.name: stored_from_physical(layer.modality, given[layer.name]) for layer in layers}

    def layers_of(self, modalities: Mapping[str, Modality]) -> tuple[Layer, ...]:
        """The same layers with band indices for the arrays of a corpus, which may have other bands as well.

        Raises `Fatal` for a layer or band that the corpus lacks, or for another encoding (scale, nodata, classes).
        """
        return tuple(_layer_in_corpus(layer, modalities) for layer in self.layers)

    def to_dict(self) -> list[dict[str, Any]]:
        """JSON values; `from_dict` gives the same normalisation back."""
        return [
            {"modality": layer.modality.specification(),
             "groups": {name: moments.to_dict() for name, moments in layer.groups.items()}}
            | {name: getattr(layer, name) for name in _WHERE_SO if getattr(layer, name)}
            for layer in self.layers
        ]  # fmt: skip

    @classmethod
    def from_dict(cls, data: Sequence[Mapping[str, Any]]) -> Normalisation:
        """The normalisation that `to_dict` described."""
        return cls(tuple(_layer(item) for item in data))


def _restricted(layer: Layer) -> Layer:
    names = [layer.modality.bands[band] for band in layer.bands]
    used = {band.name for band in names}
    shown = layer.modality.display
    display = shown if set(shown.bands) <= used else replace(shown, style="none", bands=())
    modality = replace(layer.modality, bands=tuple(names), display=display, source=None, observed=None)
    return Layer(
        modality, tuple(range(len(names))), layer.groups, presence=layer.presence, hide_outside=layer.hide_outside
    )


def _nothing(layer: Layer, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Values and mask of a layer without data, for images of `size` (rows, any, y, x)."""
    shape = (size[0], len(layer.bands), *size[2:])
    kind = torch.int64 if layer.classes else torch.float32
    return torch.zeros(shape, dtype=kind), torch.zeros(shape, dtype=torch.bool)


def _groups(layer: Layer, groups: Groups | None, given: Any, rows: int) -> list[str]:
    if layer.modality.statistics_by is None:
        return [EVERYTHING] * rows
    if groups is None:
        groups = _groups_at_hand(layer, given)
    of_layer = groups[layer.name] if isinstance(groups, Mapping) else groups
    result = [of_layer] * rows if isinstance(of_layer, str) else list(of_layer)
    if len(result) != rows:
        raise Fatal(f"{layer.name!r} has {rows} rows and {len(result)} groups; give one for each row, or one for all.")
    for group in sorted(set(result) - set(layer.groups)):
        raise unknown_name(f"{layer.modality.statistics_by} of {layer.name}", group, layer.groups)
    return result


def _groups_at_hand(layer: Layer, given: Any) -> str | list[str]:
    """The groups of the rows that an array carries as a coordinate; one for everything otherwise."""
    return coordinate(given, layer.modality.statistics_by or "") or EVERYTHING


def _layer_in_corpus(layer: Layer, modalities: Mapping[str, Modality]) -> Layer:
    if layer.name not in modalities:
        raise Fatal(f"these weights need modality {layer.name!r}, which the corpus lacks; use weights of other inputs.")
    known = modalities[layer.name]
    for name in layer.modality.band_names:
        if name not in known.band_names:
            raise unknown_name(f"band of {layer.name}", name, known.band_names)
    _refuse_other_encoding(layer.name, _encoding(known), _encoding(layer.modality))
    bands = tuple(known.band_names.index(name) for name in layer.modality.band_names)
    # Moments are those of the weights, and so is the column by which they differ.
    known = replace(known, statistics_by=layer.modality.statistics_by)
    return Layer(known, bands, layer.groups, presence=layer.presence, hide_outside=layer.hide_outside)


def _encoding(modality: Modality) -> dict[str, Any]:
    """The fields that decide the meaning of a stored value."""
    nodata = modality.specification()["nodata"]  # As it is written, where NaN equals NaN.
    return {"class codes": modality.codes, "scale": modality.scale, "offset": modality.offset, "nodata": nodata,
            "extent": modality.extent}  # fmt: skip


def _refuse_other_encoding(name: str, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    other = [
        f"{field} {stored[field]} (the weights: {wanted[field]})" for field in wanted if stored[field] != wanted[field]
    ]
    if other:
        raise Fatal(
            f"modality {name!r} is stored otherwise than what the weights were trained on, with {' and '.join(other)}; "
            "use others, or a corpus whose files say so in their tags."
        )


def _layer(data: Mapping[str, Any]) -> Layer:
    modality = Modality.from_specification(data["modality"])
    groups = {name: Moments.from_dict(moments) for name, moments in data["groups"].items()}
    presence, hide_outside = (data.get(name, False) for name in _WHERE_SO)
    return Layer(modality, tuple(range(len(modality.bands))), groups, presence=presence, hide_outside=hide_outside)
