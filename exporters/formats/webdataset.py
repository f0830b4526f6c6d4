"""Tars of samples for those who stream: the `webdataset` package decodes them to NumPy arrays."""

from __future__ import annotations

from pathlib import Path

from exporters.formats.format import Format, Options
from exporters.formats.sample_tars import SampleTars, tars_left
from exporters.formats.selection import Selection
from pipeline.errors import Fatal, unknown_name
from pipeline.progress import Progress

_SAMPLES = 512  # of all layers of MMEarth half a gigabyte
_VALUES = ("physical", "stored")


def _write(selection: Selection, target: Path, options: Options, progress: Progress) -> str:
    values = options.get("values", "stored")
    if values not in _VALUES:
        raise unknown_name("kind of values", values, _VALUES)
    samples = options.get("samples", str(_SAMPLES))
    if not (samples.isascii() and samples.isdigit() and int(samples)):
        raise Fatal(f"--set samples={samples} is no number of samples; give a whole number from 1 on.")
    return SampleTars(selection, target, int(samples), values == "physical").write(progress)


WEBDATASET = Format(
    "webdataset", "Tars of samples, per split, with an NPY per layer and the facts of the chip as JSON", _write,
    {
        "samples": f"samples of a tar; {_SAMPLES} by default",
        "values": "stored (the default), or physical: float32 in the units of the bands, NaN where there is no data",
    },
    leaves=tars_left,
)  # fmt: skip
