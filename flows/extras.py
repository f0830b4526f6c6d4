"""The optional dependencies: checked before the work that needs them, with a message that says how to install them."""

from __future__ import annotations

from importlib.util import find_spec

from pipeline.errors import Fatal

# The module that is imported and the library's name, for each extra of the distribution.
_NEEDED = {
    "train": {"torch": "PyTorch", "safetensors": "safetensors"},
    "cluster": {"distributed": "distributed", "cryptography": "cryptography"},
    "slurm": {"dask_jobqueue": "dask_jobqueue", "distributed": "distributed", "cryptography": "cryptography"},
}


def require(extra: str, work: str) -> None:
    """Raise `Fatal`, naming the `work` that needs it, unless an extra of the distribution is installed."""
    for module, name in _NEEDED[extra].items():
        if find_spec(module) is None:
            raise Fatal(f"{work} needs {name}; install it with: pip install 'geocorpus[{extra}]'.")
