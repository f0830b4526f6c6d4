"""Quality at the door: what is seen of a shard's values, layer by layer, when they are written.

Shape, dtype, class codes and finite values are checked chip by chip as they arrive (`exporters.pull`), and all layers
of a chip are asked for on its one grid. Here is what a chip alone does not tell: how much is nodata, where values are
constant or illegal, and which layers lie beside the reference. Equal values give equal findings: no clock, no chance.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.quality import registration
from pipeline.corpus import Corpus
from pipeline.modality import Modality
from pipeline.shard import Shard

# Upper bounds of the share of nodata in a chip; the first holds chips without any.
NODATA_BOUNDS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
# A shard of 512 chips shifts one in eight: an eighth of the 10 ms that a chip with all layers takes.
CHIPS_COMPARED = 64
_MOST_ROWS_NAMED = 16
_FINE_STEPS = 1000
Findings = dict[str, Any]


def reference_of(modalities: Iterable[Modality]) -> Modality | None:
    """The layer that others are compared with: an image in true colour.

    Of several, one whose values differ in scale from patch to patch (a scene, not a composite), then the first by name.
    """
    images = [one for one in modalities if one.extent == "pixel" and one.display.style == "rgb"]
    return min(images, key=lambda one: (not one.patch_normalised, one.name), default=None)


def varies_everywhere(modality: Modality) -> bool:
    """Whether no chip can have one value all over.

    True of what a sensor measured at some moment on a fine scale: its noise alone makes values differ. Water, plains,
    bare ground and cloudless skies may be constant in maps, classes and coarse scales.
    """
    if modality.categories or modality.extent != "pixel" or modality.time_rule == "static":
        return False
    return modality.resampling == "bilinear" and _steps(modality) >= _FINE_STEPS


def _steps(modality: Modality) -> float:
    """How many values the layer can tell apart."""
    if np.dtype(modality.dtype).kind == "f":
        return float("inf")
    limits = np.iinfo(modality.dtype)
    low, high = modality.valid_range or (limits.min, limits.max)
    return high - low


def inspect(
    corpus: Corpus, shard: Shard, blocks: Mapping[str, NDArray[Any]], missing: Mapping[str, Mapping[int, str]]
) -> dict[str, Findings]:
    """Findings per layer of a shard that is about to be written.

    `blocks` are (rows of the shard, bands[, y, x]) in stored values, `missing` the rows without any data. A layer is
    compared with the reference where that is at hand: in `blocks`, or written already.
    """
    result = {
        name: _values(corpus.modality(name), shard, block, missing.get(name, {})) for name, block in blocks.items()
    }
    for name, shifts in _shifts(corpus, shard, blocks, missing).items():
        result[name]["shifts"] = shifts
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
        outside += _outside(modality, chip, valid)
        if varies_everywhere(modality) and _is_constant(chip, valid):
            constant.append(row)
    return {
        "chips": len(rows),
        "values": values,
        "nodata": [nodata[index] for index in range(len(NODATA_BOUNDS))],
        "constant": {"chips": len(constant), "rows": constant[:_MOST_ROWS_NAMED]},
        "outside": outside,
    }


def _outside(modality: Modality, chip: NDArray[Any], valid: NDArray[np.bool_]) -> int:
    """How many values are beyond the range that the specification calls valid."""
    if modality.valid_range is None:
        return 0
    low, high = modality.valid_range
    if low <= chip.min() and chip.max() <= high:  # of most chips, in a fifth of the time
        return 0
    return int(np.count_nonzero(((chip < low) | (chip > high)) & valid))


def _is_constant(chip: NDArray[Any], valid: NDArray[np.bool_]) -> bool:
    """Whether every band has one value all over; a single one may, such as that of cirrus under a clear sky."""
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
    for row in _compared(corpus, shard) if layers else ():
        chips = {item.name: blocks[item.name][row - shard.start] for item in layers if row not in missing[item.name]}
        at_hand = blocks.get(reference.name)
        seen = _stored(corpus, reference, row) if at_hand is None else at_hand[row - shard.start]
        for name, peak in _peaks(corpus, reference, seen, chips):
            peaks[name].append(peak)
    return {name: _tally(reference, result) for name, result in peaks.items()}


def _compared(corpus: Corpus, shard: Shard) -> list[int]:
    """Rows that are compared, drawn by manifest and shard alone, so that a run that goes on draws the same."""
    random = np.random.default_rng([int(corpus.manifest.digest[:8], 16), shard.index])
    return sorted(random.choice(shard.rows, min(CHIPS_COMPARED, len(shard)), replace=False).tolist())


def _stored(corpus: Corpus, modality: Modality, row: int) -> NDArray[Any]:
    return np.asarray(corpus.read(modality.name, slice(row, row + 1))[0])


def _peaks(
    corpus: Corpus, reference: Modality, seen: NDArray[Any], chips: Mapping[str, NDArray[Any]]
) -> Iterator[tuple[str, registration.Peak]]:
    """The shift of each of a chip's layers that has edges to compare."""
    shown = [reference.band_names.index(name) for name in reference.display.bands]
    ground = registration.outline(reference, seen[shown])
    if ground is None:
        return
    beneath = registration.spectrum(ground)
    for name, chip in chips.items():
        outlined = registration.outline(corpus.modality(name), chip)
        if outlined is not None:
            yield name, registration.peak(beneath, registration.spectrum(outlined), (ground.shape[0], ground.shape[1]))


def _tally(reference: Modality, peaks: Sequence[registration.Peak]) -> Findings:
    """How often each shift was seen, among confident peaks."""
    counts = Counter((item.dy_px, item.dx_px) for item in peaks if item.is_confident)
    data = {f"{dy},{dx}": count for (dy, dx), count in sorted(counts.items())}
    return {"reference": reference.name, "compared": len(peaks), "seen": data}
