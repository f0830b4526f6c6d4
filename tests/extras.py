"""What is skipped where packages of an extra are not installed, with the reason."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

NO_TORCH = "torch is not installed: pip install 'geocorpus[train]'"
NO_SKLEARN = "scikit-learn is not installed: pip install 'geocorpus[train]'"
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason=NO_TORCH)
needs_s2cloudless = pytest.mark.skipif(
    find_spec("s2cloudless") is None, reason="s2cloudless is not installed: pip install 'geocorpus[clouds]'"
)
