"""How a Python process is started: without the working folder on its path, where a folder `flows/` would hide ours."""

from __future__ import annotations

import os
import sys

# The same for interpreters that others start for us, and for all that they start in turn.
SAFE_PATH = {"PYTHONSAFEPATH": "1"}


def interpreter() -> list[str]:
    """This Python, told to import nothing from the working folder; what to run follows."""
    return [sys.executable, "-P"]


def module_command(module: str, *arguments: str) -> list[str]:
    """`python -m module arguments`, of the installed module whatever the working folder holds."""
    return [*interpreter(), "-m", module, *arguments]


def safe_environment(**more: str) -> dict[str, str]:
    """The environment variables of this process for a child and for whatever that starts, and `more`."""
    return {**os.environ, **SAFE_PATH, **more}
