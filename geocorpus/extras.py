"""Imports of what needs an extra: one that is not installed is named in a sentence, with the command that mends it."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from pipeline.errors import NotInstalled

_EXTRAS = {
    "torch": "train", "safetensors": "train", "sklearn": "train", "tensorboard": "train",
    "obstore": "cloud", "boto3": "cloud", "distributed": "cluster", "dask_jobqueue": "slurm", "s2cloudless": "clouds",
}  # fmt: skip


def imported_with_extra(module: str, what: str) -> ModuleType:
    """The module called `module`, for `what`; raises `NotInstalled` where a package of an extra is absent."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        raise NotInstalled(
            f"{what} needs the package {package}; install it with: pip install 'geocorpus[{_EXTRAS[package]}]'."
        ) from error
