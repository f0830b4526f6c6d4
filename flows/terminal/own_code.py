"""Where in a file of the user's own an error came up: a method, a layer or a benchmark that runs inside of ours."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

from flows.doctor.hidden import PACKAGES

_ROOT = Path(__file__).resolve().parents[2]


def place_of(error: BaseException) -> str | None:
    """The file and the line, of the innermost call that is neither ours nor of a library; None without one."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(frame.filename)]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else None


def _is_own(name: str) -> bool:
    path = Path(name)
    if not path.is_file():  # such as <frozen runpy>
        return False
    path = path.resolve()
    return not any(path.is_relative_to(folder) for folder in _not_own())


def _not_own() -> list[Path]:
    """The folders of this installation, of its libraries and of its commands."""
    libraries = [Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    return [*(_ROOT / name for name in PACKAGES), *libraries, Path(sysconfig.get_path("scripts")).resolve()]
