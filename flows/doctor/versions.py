"""Versions of geocorpus, of Python and of the libraries, checked against the bounds that geocorpus requires."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from flows.doctor.finding import Finding, shown

_SHOWN = ("earthengine-api", "numpy", "zarr", "xarray", "rasterio", "pyproj", "shapely", "pyarrow", "prefect", "torch")


def check_geocorpus() -> Finding:
    """The versions of geocorpus and Python."""
    python, folder = platform.python_version(), shown(Path(__file__).resolve().parents[2])
    try:
        ours = version("geocorpus")
    except PackageNotFoundError:
        return Finding(
            "problem", f"geocorpus is not installed for {shown(Path(sys.executable))}: pip install it there."
        )
    said = f"{ours} on Python {python}, from {folder}"
    return Finding("ok", said, {"geocorpus": ours, "python": python, "folder": folder})


def check_machine() -> Finding:
    """The operating system, processor cores and memory."""
    cores, memory = os.cpu_count() or 1, _memory_gib()
    known = f", {memory:.0f} GiB of memory" if memory else ""
    facts = {"system": platform.platform(), "cores": cores, "memory_gib": memory}
    return Finding("ok", f"{platform.platform()}, {cores} cores{known}", facts)


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def check_libraries() -> Finding:
    """Whether every library, those of extras included, is within its bounds, and whether a required one is absent."""
    numbers = {name: _installed(name) for name in _SHOWN}
    facts = {name: number for name, number in numbers.items() if number}
    wrong = list(dict.fromkeys(_wrong()))
    if wrong:
        asked = " ".join(f"'{name}'" for name, _ in wrong)
        listed = ", ".join(f"{name} ({number or 'absent'})" for name, number in wrong)
        return Finding("problem", f"not as geocorpus needs them: {listed}; run pip install {asked}.", facts)
    return Finding("ok", ", ".join(f"{name} {number}" for name, number in facts.items()), facts)


def _wrong() -> Iterator[tuple[str, str | None]]:
    """Requirements that are not met, each with the installed version. A library of an extra may be absent."""
    for text in _required():
        requirement = Requirement(text)
        optional = requirement.marker is not None and "extra" in str(requirement.marker)
        number = _installed(requirement.name)
        if not optional and requirement.marker is not None and not requirement.marker.evaluate():
            continue
        if number is None and optional:
            continue
        if number is None or not requirement.specifier.contains(number, prereleases=True):
            yield f"{requirement.name}{requirement.specifier}", number


def _required() -> list[str]:
    try:
        return requires("geocorpus") or []
    except PackageNotFoundError:
        return []


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
