"""A store of an older format is read as ever; what it lacks is said once a run."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.compression import CHECKSUMS_SINCE, FORMAT_VERSION
from pipeline.errors import Fatal

_log = logging.getLogger(__name__)
_said: set[Path] = set()


def version_of(attributes: Mapping[str, Any], url: str) -> int:
    """The format of a store, from its attributes; raises `Fatal` for one of a later release."""
    version = attributes.get("format_version", 1)
    if not isinstance(version, int):
        raise Fatal(f"{url} has the format {version!r}, which is none; restore its zarr.json from a copy.")
    if version > FORMAT_VERSION:
        raise Fatal(
            f"{url} has format {version}, and this release knows {FORMAT_VERSION}; run: pip install -U geocorpus."
        )
    return version


def say_what_it_lacks(folder: Path, version: int) -> None:
    """Log one sentence in the life of a run, whose further processes keep silent, where chips carry no checksums."""
    folder = folder.absolute()
    if version < CHECKSUMS_SINCE and folder not in _said and _speaks():
        _said.add(folder)
        _log.warning(
            "The chips in %s carry no checksums, so damage may pass for data; `geocorpus upgrade %s` adds them.",
            folder, folder,
        )  # fmt: skip


def keep_silent(folder: Path) -> None:
    """Say nothing of a folder in this run, which mends it."""
    _said.add(folder.absolute())


def _speaks() -> bool:
    """Whether this process is the first of its run; others are its children, or have a rank."""
    rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID")
    return rank == "0" if rank else multiprocessing.parent_process() is None
