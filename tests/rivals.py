"""Folders called like our packages, as people have them in their working folder, and the command run beside them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PACKAGES = ("pipeline", "sampling", "exporters", "training", "flows", "sandbox")


def rivals(folder: Path, *names: str) -> Path:
    """`folder` with packages of these names, of all of ours by default, that fail as soon as they are imported."""
    for name in names or PACKAGES:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise RuntimeError('the rival {name} was imported')\n")
    return folder


def command(*arguments: str, cwd: Path, python: str = sys.executable, **more: str) -> subprocess.CompletedProcess[str]:
    """The installed `geocorpus ARGUMENTS` of an environment, run in `cwd` with `more` in its environment variables."""
    script = str(Path(python).with_name("geocorpus"))
    return run([script, *arguments], cwd, **more)


def run(words: list[str], cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Any command, in `cwd` with `more` in its environment variables."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    environment = {**inherited, "COLUMNS": "200", **more}
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)
