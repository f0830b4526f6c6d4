"""The algorithms that the sandbox evaluates, by Earth Engine's names; each is one decorated function.

A function receives its arguments by position, in the order of the published signature. They are already checked and
converted to their declared types.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Implementation = Callable[..., Any]

REGISTRY: dict[str, Implementation] = {}
NEEDS_CATALOG: set[str] = set()


def algorithm(*names: str) -> Callable[[Implementation], Implementation]:
    """Register one function under one or several names. Raises ValueError when a name is registered twice."""

    def register(function: Implementation) -> Implementation:
        for name in names:
            if name in REGISTRY:
                raise ValueError(f"Algorithm {name} is registered twice.")
            REGISTRY[name] = function
        return function

    return register


def catalog_algorithm(*names: str) -> Callable[[Implementation], Implementation]:
    """Like `algorithm`, for functions whose first argument is the stored.Catalog."""
    NEEDS_CATALOG.update(names)
    return algorithm(*names)
