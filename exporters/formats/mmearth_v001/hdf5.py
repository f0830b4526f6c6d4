"""h5py, which an extra of the distribution installs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pipeline.errors import NotInstalled


def h5py_module() -> Any:
    """The module h5py; raises `NotInstalled`, with the command that mends it, where it is absent."""
    try:
        return import_module("h5py")
    except ModuleNotFoundError as error:
        raise NotInstalled(
            "these files are HDF5, which needs h5py; install it with: pip install 'geocorpus[mmearth]'."
        ) from error
