"""Free space and write permission in the working folder, to which a corpus would be written."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from flows.doctor.finding import Finding, shown

_LITTLE_GB = 5.0
_CHIP_GB = 0.0005  # a chip of the published corpus, all modalities: docs/running-at-scale.md, Room


def check_writable() -> Finding:
    """Whether files can be written to the working folder."""
    folder = Path.cwd()
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"geocorpus")
    except OSError as error:
        said = f"{shown(folder)} cannot be written to ({error.strerror or error}); go to another, or set corpus.folder."
        return Finding("problem", said)
    return Finding("ok", f"{shown(folder)} can be written to")


def check_disk() -> Finding:
    """Free space on the disk of the working folder, in GB and in chips."""
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    facts = {"free_gb": round(free_gb, 1)}
    said = f"{free_gb:.1f} GB free on the disk of {shown(Path.cwd())}: room for about {_chips(free_gb)} chips"
    if free_gb < _LITTLE_GB:
        return Finding("note", f"{said}; make room, or set corpus.store to another disk or a bucket.", facts)
    return Finding("ok", said, facts)


def _chips(free_gb: float) -> str:
    """Rounded down to its first digit: it is an estimate."""
    count = int(free_gb / _CHIP_GB)
    step = 10 ** max(0, len(str(count)) - 1)
    return f"{count // step * step:,}"
