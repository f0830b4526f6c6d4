"""The formats of labelled images by name, and the one that `FORMAT:PATH` means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from exporters.formats.benchmarks.class_folders import open_eurosat, open_folder
from exporters.formats.benchmarks.geobench import open_geobench
from exporters.formats.benchmarks.label_table import open_table
from exporters.formats.benchmarks.labelled_images import LabelledImages, ReadOptions
from pipeline.errors import Fatal, unknown_name

FORMATS: dict[str, Callable[[Path, ReadOptions], LabelledImages]] = {
    "geobench": open_geobench,
    "eurosat": open_eurosat,
    "folder": open_folder,
    "table": open_table,
}


def open_images(address: str, options: ReadOptions | None = None) -> LabelledImages:
    """What an address such as "geobench:data/m-eurosat" means; raises `Fatal` for an unknown format or path.

    >>> open_images("eurosat:nowhere")
    Traceback (most recent call last):
    ...
    pipeline.errors.Fatal: nowhere does not exist; give a path after eurosat:.
    """
    form, _, rest = address.partition(":")
    if not rest:
        raise Fatal(f"{address!r} says no format; write FORMAT:PATH, with one of {', '.join(FORMATS)}.")
    if form not in FORMATS:
        raise unknown_name("format of labelled images", form, FORMATS)
    if not Path(rest).exists():
        raise Fatal(f"{rest} does not exist; give a path after {form}:.")
    return FORMATS[form](Path(rest), options or ReadOptions())
