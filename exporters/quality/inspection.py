"""Quality checks of a shard's values, layer by layer, when they are written.

Shape, dtype, class codes and finite values are checked chip by chip as they arrive (`exporters.pull`), and all layers
of a chip are requested on the same grid. The checks here need more than one chip: how much is nodata, where values are
constant or outside the valid range, and which layers are shifted. Equal values give equal findings.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.quality import registration
from exporters.quality.scene_coverage import scene_findings
from exporters.quality.sky import sky_findings
from pipeline.corpus import Corpus
from pipeline.measured import MEASURED
from pipeline.modality import Modality, Range
from pipeline.shard import Shard

# Upper bounds of the classes of nodata share in a chip; the first class is chips without nodata.
NODATA_BOUNDS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
# Of a shard of 512 chips one in eight is compared. A comparison of all layers takes 10 ms a chip.
CHIPS_COMPARED = 64
_FINE_STEPS = 1000
Findings = dict[str, Any]


def reference_of(modalities: Iterable[Modality]) -> Modality | None:
    """The layer with which others are compared: an image in true colour; None without any.

    Of several, one that is normalised per patch (a scene, not a composite), then the first by name.
    """
    images = [item for item in modalities if item.extent == "pixel" and item.display.style == "rgb"]
    return min(images, key=lambda item: (not item.patch_normalised, item.name), default=None)


def varies_everywhere(modality: Modality) -> bool:
    """Whether no chip can be constant.

    True for measurements of a sensor at one time with fine steps: noise makes their values differ. Maps, classes and
    values with coarse steps may be constant over water, plains, bare ground and under cloudless skies.
    """
    if modality.categories or modality.extent != "pixel" or modality.time_rule == "static":
        return False
    return modality.resampling == "bilinear" and _steps(modality) >= _FINE_STEPS


def _steps(modality: Modality) -> float:
    """How many different values the layer can store, in the band that has the fewest."""
    if np.dtype(modality.dtype).kind == "f":
        return float("inf")
    limits = np.iinfo(modality.dtype)
    ends = [each or (limits.min, limits.max) for each in modality.ranges]
    return float(min(high - low for low, high in ends))


def inspect(
    corpus: Corpus, shard: Shard, blocks: Mapping[str, NDArray[Any]], missing: Mapping[str, Mapping[int, str]]
) -> dict[str, Findings]:
    """Findings per layer of a shard that is about to be written.

    `blocks` are (rows, bands[, y, x]) of the shard in the stored dtype, `missing` the reasons of rows without data. A
    layer is compared with the reference when that is in `blocks` or was written before.
    """
    result = {
        name: _values(corpus.modality(name), shard, block, missing.get(name, {})) for name, block in blocks.items()
    }
    for name, shifts in _shifts(corpus, shard, blocks, missing).items():
        result[name]["shifts"] = shifts
    for name, block in blocks.items():
        if scenes := scene_findings(corpus.modality(name), corpus.manifest, shard, block):
            result[name]["scenes"] = scenes
        if sky := sky_findings(corpus.modality(name), corpus.manifest, shard, block, missing.get(name, {})):
            result[name][MEASURED] = sky
    return result


def _values(modality: Modality, shard: Shard, block: NDArray[Any], missing: Mapping[int, str]) -> Findings:
    rows = [row for row in shard.rows if row not in missing]
    nodata: Counter[int] = Counter()
    constant: list[int] = []
    values = outside = 0
    for row in rows:
        chip = block[row - shard.start]
        valid = modality.valid(chip)
        known = int(np.count_nonzero(valid))
        nodata[bisect_left(NODATA_BOUNDS, 1 - known / valid.size)] += 1
        values += known
        outside += count_outside(modality, chip, valid)
        if varies_everywhere(modality) and _is_constant(chip, valid):
            constant.append(row)
    return {
        "chips": len(rows),
        "values": values,
        "nodata": [nodata[index] for index in range(len(NODATA_BOUNDS))],
        "constant": {"chips": len(constant), "rows": constant},
        "outside": outside,
    }


def count_outside(modality: Modality, chip: NDArray[Any], valid: NDArray[np.bool_]) -> int:
    """How many values are outside the valid range of their band."""
    if not modality.has_ranges:
        return 0
    if len(set(modality.ranges)) == 1:  # all bands at once, which is faster
        return _beyond(modality.ranges[0], chip, valid)
    return sum(_beyond(*band) for band in zip(modality.ranges, chip, valid, strict=True))


def _beyond(valid_range: Range | None, stored: NDArray[Any], valid: NDArray[np.bool_]) -> int:
    low, high = valid_range or (-np.inf, np.inf)
    if low <= stored.min() and stored.max() <= high:  # true for most chips, and five times as fast
        return 0
    return int(np.count_nonzero(((stored < low) | (stored > high)) & valid))


def _is_constant(chip: NDArray[Any], valid: NDArray[np.bool_]) -> bool:
    """Whether every band is constant. A single band may be: the cirrus band under a clear sky, for example."""
    bands = [band[known] for band, known in zip(chip, valid, strict=True) if np.count_nonzero(known) > 1]
    return bool(bands) and all(values.min() == values.max() for values in bands)


def _shifts(
    corpus: Corpus, shard: Shard, blocks: Mapping[str, NDArray[Any]], missing: Mapping[str, Mapping[int, str]]
) -> dict[str, Findings]:
    reference = reference_of(corpus.modalities.values())
    if reference is None or corpus.manifest.size_px < registration.SMALLEST_PX:
        return {}
    if reference.name not in blocks and shard.index not in corpus.finished(reference.name):
        return {}
    others = [corpus.modality(name) for name in blocks if name != reference.name]
    layers = [item for item in others if item.extent == "pixel"]
    peaks: dict[str, list[registration.Peak]] = {item.name: [] for item in layers}
    for row in _rows_compared(corpus, shard) if layers else ():
        chips = {item.name: blocks[item.name][row - shard.start] for item in layers if row not in missing[item.name]}
        block = blocks.get(reference.name)
        image = _stored(corpus, reference, row) if block is None else block[row - shard.start]
        for name, peak in _peaks(corpus, reference, image, chips):
            peaks[name].append(peak)
    return {name: _tally(reference, result) for name, result in peaks.items()}


def _rows_compared(corpus: Corpus, shard: Shard) -> list[int]:
    """The rows to compare, drawn from manifest and shard only, so that a resumed run draws the same."""
    random = np.random.default_rng([int(corpus.manifest.digest[:8], 16), shard.index])
    return sorted(random.choice(shard.rows, min(CHIPS_COMPARED, len(shard)), replace=False).tolist())


def _stored(corpus: Corpus, modality: Modality, row: int) -> NDArray[Any]:
    return np.asarray(corpus.read(modality.name, slice(row, row + 1))[0])


def _peaks(
    corpus: Corpus, reference: Modality, image: NDArray[Any], chips: Mapping[str, NDArray[Any]]
) -> Iterator[tuple[str, registration.Peak]]:
    """The correlation peak of each of a chip's layers that has edges to compare."""
    shown = [reference.band_names.index(name) for name in reference.display.bands]
    reference_outline = registration.outline(reference, image[shown])
    if reference_outline is None:
        return
    reference_spectrum = registration.spectrum(reference_outline)
    shape_yx = reference_outline.shape[0], reference_outline.shape[1]
    for name, chip in chips.items():
        layer_outline = registration.outline(corpus.modality(name), chip)
        if layer_outline is not None:
            yield name, registration.peak(reference_spectrum, registration.spectrum(layer_outline), shape_yx)


def _tally(reference: Modality, peaks: Sequence[registration.Peak]) -> Findings:
    """How often each shift was measured, among confident peaks."""
    counts = Counter((item.dy_px, item.dx_px) for item in peaks if item.is_confident)
    data = {f"{dy},{dx}": count for (dy, dx), count in sorted(counts.items())}
    return {"reference": reference.name, "compared": len(peaks), "seen": data}
