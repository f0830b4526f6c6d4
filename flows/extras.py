"""The optional parts of the installation: asked for before the work that needs them, and said how to get."""

from __future__ import annotations

from importlib.util import find_spec

from pipeline.errors import Fatal

# What is imported, and what people call it, for each extra of the distribution.
_NEEDED = {
    "train": {"torch": "PyTorch", "safetensors": "safetensors"},
    "cluster": {"distributed": "distributed"},
    "slurm": {"dask_jobqueue": "dask_jobqueue", "distributed": "distributed"},
}


def require(extra: str, work: str) -> None:
    """Raise `Fatal` unless an extra of the distribution is installed, with the `work` that needs it in the sentence."""
    for module, name in _NEEDED[extra].items():
        if find_spec(module) is None:
            raise Fatal(f"{work} needs {name}; install it with: pip install 'geocorpus[{extra}]'.")
