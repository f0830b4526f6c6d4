"""The code and the machine of a run, for the files in its folder."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from training.runtime.device import Device
from training.runtime.distributed_context import DistributedContext

_PACKAGES = ("torch", "numpy", "zarr", "geocorpus")


def provenance(device: Device, context: DistributedContext) -> dict[str, Any]:
    """JSON values: versions, commit, device, processes."""
    versions = {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}
    return {
        "versions": versions | {"cuda": torch.version.cuda},
        "commit": commit(Path(__file__).parents[1]),
        "environment": {
            "platform": platform.platform(), "cores": os.cpu_count(), "device": device.description,
            "precision": str(device.dtype).removeprefix("torch."), "compiled": device.compiled,
            "processes": context.count, "threads": torch.get_num_threads(),
        },
    }  # fmt: skip


def commit(folder: Path) -> str | None:
    """The commit at which the package in `folder` is checked out, with "+" appended where files were changed.

    None outside a git checkout of this project, as in an installed package, or without git.
    """
    if not (folder.parent / ".git").exists():
        return None
    head = _git(folder, "rev-parse", "HEAD")
    return head and head + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30)  # noqa: S603, S607
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
