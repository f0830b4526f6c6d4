"""Labelled images as an encoder takes them: its bands by name, the moments that were asked for, the order checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from exporters.formats.benchmarks.data_formats import open_images
from exporters.formats.benchmarks.labelled_images import EVERY, LabelledImages
from flows.data_options import DataOptions
from pipeline.errors import Fatal
from pipeline.progress import Progress
from pipeline.statistics import EVERYTHING

if TYPE_CHECKING:
    from training.evaluate.lazy_samples import LazySamples
    from training.evaluate.own_moments import MeanStd
    from training.model.normalisation import Normalisation
    from training.weights.pretrained import Pretrained

_MOMENTS_OF = 1000  # images, evenly over the training part
Channels = Mapping[str, tuple[int | None, ...]]


@dataclass(frozen=True)
class Prepared:
    """`pretrained` with the normalisation of the images, their `samples` by part, and `facts` for every result."""

    pretrained: Pretrained
    images: LabelledImages
    samples: Mapping[str, LazySamples]
    facts: Mapping[str, Any]


def prepare(pretrained: Pretrained, address: str, options: DataOptions, progress: Progress) -> Prepared:
    """The labelled images at `address`, such as "geobench:data/m-eurosat", for an encoder.

    What is assumed is said: an order of bands, moments, a doubt about the order. Raises `Fatal` for images that cannot
    be read, bands that they lack, and moments that do not fit them.
    """
    images = open_images(address, options.of_reading)
    channels = _channels(images, pretrained.normalisation, options, progress)
    images = images if images.moments else replace(images, moments=_measured(images))
    own = _own_moments(images, channels)
    _check_order(images, pretrained, channels, progress)
    if options.moments == "own":
        from training.evaluate.own_moments import with_moments

        normalisation, group, unit = with_moments(pretrained.normalisation, own), EVERYTHING, None
    else:
        normalisation = pretrained.normalisation
        group, unit = _level(normalisation, channels, options), _unit(images, options)
    samples = {part: _samples(images, indices, channels, normalisation, group, unit)
               for part, indices in images.parts.items() if indices}  # fmt: skip
    facts = {"data": address, "name": images.name, "kind": images.kind, **images.facts, **options.facts()}
    return Prepared(replace(pretrained, normalisation=normalisation), images, samples, facts)


def _channels(
    images: LabelledImages, normalisation: Normalisation, options: DataOptions, progress: Progress
) -> Channels:
    """Places of the bands of each layer that the images have; None for a band that they lack."""
    found: dict[str, tuple[int | None, ...]] = {}
    for layer in normalisation.layers:
        places, lacking = images.channels(layer.modality.band_names)
        if len(lacking) == len(places) and layer.presence:
            continue
        if len(lacking) == len(places) or (lacking and options.absent == "refuse"):
            raise Fatal(
                f"{images.name} has bands {', '.join(images.bands)}, and the encoder looks at {', '.join(lacking)} of "
                f"{layer.name!r} too; name the bands with bands=, or take others as without data with absent=mean."
            )
        if lacking:
            progress.say(f"{images.name} lacks {', '.join(lacking)} of {layer.name!r}: taken as without data.")
        found[layer.name] = places
    if images.by_position:
        progress.say(f"{images.name} does not name its bands; taken, in their order, as {', '.join(images.bands)}.")
    return found


def _own_moments(images: LabelledImages, channels: Channels) -> dict[str, MeanStd]:
    """Mean and deviation by layer, in the images' own numbers; 0 and 1 for a band that they lack."""
    table = _table(images)
    moments = {}
    for name, places in channels.items():
        rows = np.array([(0.0, 1.0) if place is None else table[place] for place in places], dtype=np.float32)
        moments[name] = rows[:, 0], rows[:, 1]
    return moments


def _table(images: LabelledImages) -> NDArray[np.float32]:
    """Mean and deviation (bands, 2) of the images' bands."""
    known = images.moments or {}
    return np.array([known[name] for name in images.bands], dtype=np.float32)


def _measured(images: LabelledImages) -> dict[str, tuple[float, float]]:
    """Moments by band over images of the training part."""
    indices = images.parts.get("train") or images.parts[EVERY]
    chosen = np.unique(np.linspace(0, len(indices) - 1, min(len(indices), _MOMENTS_OF)).astype(int))
    sums = np.zeros((3, len(images.bands)))
    for index in chosen:
        values = images.read(indices[index])[0].astype(np.float64)
        kept = np.isfinite(values)
        values = np.where(kept, values, 0)
        sums += [part.sum(axis=(1, 2)) for part in (kept, values, values**2)]
    count = np.maximum(sums[0], 1)
    mean = sums[1] / count
    std = np.sqrt(np.maximum(sums[2] / count - mean**2, 0))
    return {name: (float(mean[i]), float(std[i])) for i, name in enumerate(images.bands)}


def _check_order(images: LabelledImages, pretrained: Pretrained, channels: Channels, progress: Progress) -> None:
    """Say so where bands would fit better exchanged than as they are; assumed moments say nothing about that."""
    from training.evaluate.band_order import BandMoments, misfit
    from training.weights.pretrained import ASSUMED

    if pretrained.facts.get(ASSUMED):
        return
    table = _table(images)
    for layer in pretrained.normalisation.layers:
        if layer.name not in channels or layer.classes:
            continue
        doubts = [
            misfit(BandMoments(images.bands, table[:, 0], table[:, 1]),
                   BandMoments(layer.modality.band_names, moments.mean, moments.std))
            for moments in layer.groups.values()
        ]  # fmt: skip
        if doubts and all(doubts) and doubts[0] is not None:
            progress.say(f"{images.name}: {doubts[0].sentence}.")


def _level(normalisation: Normalisation, channels: Channels, options: DataOptions) -> str:
    groups = {name for layer in normalisation.layers if layer.name in channels and layer.modality.statistics_by
              for name in layer.groups}  # fmt: skip
    if not groups or options.level in groups:
        return options.level or EVERYTHING
    if len(groups) == 1 and not options.level:
        return groups.pop()
    raise Fatal(f"the encoder has moments of {', '.join(sorted(groups))}; say which the images are with level=.")


def _unit(images: LabelledImages, options: DataOptions) -> float:
    unit = options.unit or images.unit
    if not unit:
        raise Fatal(
            f"what a number of {images.name} means is not known; give unit=0.0001 for reflectance times 10,000, or "
            "moments=own."
        )
    return unit


def _samples(
    images: LabelledImages, indices: tuple[int, ...], channels: Channels, normalisation: Normalisation, group: str,
    unit: float | None,
) -> LazySamples:  # fmt: skip
    from training.evaluate.lazy_samples import LazySamples
    from training.evaluate.legend import Legend
    from training.evaluate.tasks.kinds import task_of

    def read(index: int) -> tuple[Mapping[str, NDArray[Any]], NDArray[Any]]:
        image, label = images.read(indices[index])
        chosen = {name: _chosen(image, places) for name, places in channels.items()}
        return (chosen if unit is None else _stored(normalisation, chosen, unit)), label

    task = task_of(images.kind, images.names)
    legend = Legend(images.name) if images.kind == "regression" else Legend.of_names(images.name, images.names)
    return LazySamples(read, len(indices), task, legend, group)


def _chosen(image: NDArray[np.float32], places: tuple[int | None, ...]) -> NDArray[np.float32]:
    nothing = np.full(image.shape[1:], np.nan, np.float32)
    return np.stack([nothing if place is None else image[place] for place in places])


def _stored(
    normalisation: Normalisation, chosen: Mapping[str, NDArray[np.float32]], unit: float
) -> dict[str, NDArray[Any]]:
    whole = {name: values[None].astype(np.float64) * unit for name, values in chosen.items()}
    return {name: values[0] for name, values in normalisation.stored(whole).items()}
