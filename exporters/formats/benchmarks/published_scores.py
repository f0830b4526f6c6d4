"""Scores that others published for encoders of this kind on GEO-Bench, with where they stand; none was run here."""

from __future__ import annotations

from dataclasses import dataclass

PROBE, TUNED = "linear probe", "fine-tuning"


@dataclass(frozen=True)
class PublishedScore:
    """`score` is a fraction of 1, `measure` one of the figures here, `protocol` "linear probe" or "fine-tuning"."""

    task: str
    encoder: str
    protocol: str
    measure: str
    score: float
    source: str


_PAGE = "MMEarth project page (v001, Atto)"
_READ_OFF = "MMEarth project page, read off a figure (about 0.01 either way)"
_GEOMELD = "GeoMeld's tables"
_F1, _ACCURACY, _IOU = "micro_f1", "accuracy", "mean_iou"
_TASKS = (
    ("m-bigearthnet", TUNED, _F1), ("m-bigearthnet", PROBE, _F1), ("m-so2sat", TUNED, _ACCURACY),
    ("m-so2sat", PROBE, _ACCURACY), ("m-cashew-plant", TUNED, _IOU), ("m-SA-crop-type", TUNED, _IOU),
)  # fmt: skip
# In percent, in the order of `_TASKS`; None where nothing was published.
_ROWS: tuple[tuple[str, str, tuple[float | None, ...]], ...] = (
    ("MP-MAE (MMEarth64)", _PAGE, (68.2, 40.9, 54.0, 41.7, 81.6, 39.7)),
    ("MP-MAE, Sentinel-2 alone", _PAGE, (65.1, 36.2, 48.7, 33.5, 79.9, 36.0)),
    ("FCMAE of ImageNet", _PAGE, (55.7, 25.9, 36.6, 24.0, 77.1, 26.7)),
    ("GeoMeld's MP-MAE", _GEOMELD, (None, 44.8, None, 45.2, None, None)),
    ("GeoMeld's MP-MAE with JEPA", _GEOMELD, (None, 46.1, None, 46.9, None, None)),
    ("GeoMeld's, with captions", _GEOMELD, (71.8, 49.6, 59.8, 50.2, 83.2, 42.7)),
)
_EUROSAT = (("MP-MAE (MMEarth64)", 73.8), ("MP-MAE, Sentinel-2 alone", 65.3), ("FCMAE of ImageNet", 67.8))
PUBLISHED = (
    *(
        PublishedScore(task, encoder, protocol, measure, percent / 100, source)
        for encoder, source, row in _ROWS
        for (task, protocol, measure), percent in zip(_TASKS, row, strict=True)
        if percent is not None
    ),
    *(PublishedScore("m-eurosat", name, PROBE, _ACCURACY, percent / 100, _READ_OFF) for name, percent in _EUROSAT),
)


def published_for(task: str, protocol: str) -> tuple[PublishedScore, ...]:
    """What was published for a task of GEO-Bench by this protocol."""
    return tuple(score for score in PUBLISHED if score.task == task and score.protocol == protocol)
