"""Commands that start Python without the working folder on its import path, where a folder `flows/` would hide ours."""

from __future__ import annotations

import os
import sys

# The same as `-P`, for interpreters that other programs start for us, and for their child processes.
SAFE_PATH = {"PYTHONSAFEPATH": "1"}


def interpreter() -> list[str]:
    """The command of this Python, with the option to import nothing from the working folder."""
    return [sys.executable, "-P"]


def module_command(module: str, *arguments: str) -> list[str]:
    """`python -m module arguments` for the installed module, even if the working folder holds one of that name."""
    return [*interpreter(), "-m", module, *arguments]


def safe_environment(**more: str) -> dict[str, str]:
    """The environment variables for a child process and its own children: those of this process, and `more`."""
    return {**os.environ, **SAFE_PATH, **more}
