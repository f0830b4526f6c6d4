"""Whether a folder of the user hides one of our packages, whose names are ordinary words."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from flows.doctor.finding import Finding, shown

PACKAGES = ("geocorpus", "pipeline", "sampling", "exporters", "training", "flows", "sandbox")
_HOME = Path(__file__).resolve().parents[2]


def check_hidden() -> Finding:
    """Which of our packages Python would import from another folder, here and in processes that we start."""
    hidden = {name: folder for name in PACKAGES if (folder := _taken_from(name)) is not None}
    if not hidden:
        return Finding("ok", "all packages are our own")
    listed = ", ".join(f"{name} by {shown(folder)}" for name, folder in hidden.items())
    said = f"hidden packages: {listed}; rename those folders, or take them off PYTHONPATH."
    return Finding("problem", said, {name: str(folder) for name, folder in hidden.items()})


def _taken_from(name: str) -> Path | None:
    """The folder that Python imports `name` from, if it is not ours; None also when there is no such package."""
    spec = sys.modules[name].__spec__ if name in sys.modules else find_spec(name)
    if spec is None:
        return None
    paths = [spec.origin] if spec.origin else list(spec.submodule_search_locations or [])
    folder = Path(paths[0]).resolve() if paths else _HOME / name
    folder = folder.parent if folder.suffix == ".py" else folder
    return None if folder == _HOME / name else folder
