"""The device that training would use; torch is looked up before any module that imports it."""

from __future__ import annotations

from importlib.util import find_spec

from flows.doctor.finding import Finding

_INSTALL = "pip install 'geocorpus[train]'"


def check_torch() -> Finding:
    """The device that `pretrain.device = "auto"` takes. Without torch everything but training works."""
    absent = [name for name in ("torch", "safetensors", "sklearn", "tensorboard") if find_spec(name) is None]
    if absent:
        said = f"{', '.join(absent)} not installed: everything but training works; for that, {_INSTALL}."
        return Finding("note", said, {"absent": absent})
    try:
        from training.runtime.device import summary
    except (ImportError, OSError) as error:
        return Finding("problem", f"torch cannot be imported ({error}); install it anew: {_INSTALL}.")
    facts = summary()
    level = "ok" if facts["device"] == "cuda" else "note"
    hint = "" if level == "ok" else "; the demo's encoder trains on it, a large run wants a GPU"
    return Finding(level, f"torch {facts['torch']} on {facts['description']}{hint}", facts)  # type: ignore[arg-type]
