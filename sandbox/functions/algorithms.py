"""Importing this module registers every algorithm of the sandbox: the files of this folder, and `profiles`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from sandbox import profiles

MODULES = (profiles, *(import_module(f"sandbox.functions.{path.stem}") for path in
                       sorted(Path(__file__).parent.glob("[a-z]*.py")) if path.stem != "algorithms"))  # fmt: skip
