"""Each chip's own share of clouds, their shadows and snow, from the layers that tell them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.quality import cloud_detector
from pipeline.manifest import Manifest
from pipeline.measured import CLOUD, SHADOW, SNOW, told_by
from pipeline.modality import Modality
from pipeline.observed import Observed, SkyClasses
from pipeline.shard import Shard

Percent = float | None  # None where it is not known
_DECIMALS = 2


def sky_findings(
    modality: Modality, manifest: Manifest, shard: Shard, block: NDArray[Any], missing: Mapping[int, str]
) -> dict[str, list[Percent]]:
    """By column of `pipeline.measured`, one number for each row of a shard; empty for a layer that tells none.

    `block` is (rows, bands, y, x) of the shard in the stored dtype.
    """
    columns = told_by(modality)
    if not columns or modality.observed is None:
        return {}
    rows = list(_rows(modality, modality.observed, manifest.column("level", shard.slice), block))
    told = [{} if row in missing else item for row, item in zip(shard.rows, rows, strict=True)]
    return {name: [item.get(name) for item in told] for name in columns}


def _rows(
    modality: Modality, observed: Observed, levels: NDArray[Any], block: NDArray[Any]
) -> Iterator[dict[str, Percent]]:
    """What is told of each row, by column."""
    for level, chip in zip(levels, block, strict=True):
        if observed.classes is not None:
            yield _of_classes(modality, observed.classes, chip[0])
        elif observed.cloud_from is not None:
            found = np.asarray(modality.physical(chip[0]) >= observed.cloud_from, dtype=np.bool_)
            yield {CLOUD: _percent(_count(found), _count(modality.valid(chip[0])))}
        elif observed.detection is not None and level == observed.detection.level:
            bands = [modality.band_names.index(name) for name in observed.detection.bands]
            valid = np.asarray(modality.valid(chip[bands]).all(axis=0), dtype=np.bool_)
            detected = cloud_detector.clouds(np.nan_to_num(modality.physical(chip[bands]), nan=0.0))
            yield {} if detected is None else {CLOUD: _percent(_count(detected & valid), _count(valid))}
        else:
            yield {}


def _of_classes(modality: Modality, classes: SkyClasses, codes: NDArray[Any]) -> dict[str, Percent]:
    """By column, of class codes (y, x)."""
    count = {code: _count(codes == code) for code in classes.codes}  # a tenth of the time of np.isin
    known = _count(modality.valid(codes)) - sum(count[code] for code in classes.unknown)
    groups = {CLOUD: classes.cloud, SHADOW: classes.shadow, SNOW: classes.snow}
    return {name: _percent(sum(count[code] for code in group), known) for name, group in groups.items()}


def _count(pixels: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(pixels))


def _percent(found: int, known: int) -> Percent:
    return round(100 * found / known, _DECIMALS) if known else None
