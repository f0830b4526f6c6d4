"""Planets shared by the tests: building one takes a second, so each is built once."""

from __future__ import annotations

from functools import cache

from sandbox.planet import Planet


@cache
def shared_planet(seed: int = 0, copy: int = 0) -> Planet:
    """A planet of a seed; another `copy` is another instance of the same Earth, with caches of its own."""
    assert copy >= 0
    return Planet(seed)
