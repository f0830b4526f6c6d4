"""A procedural Earth with Earth Engine's asset ids: see docs/planet.md."""

from sandbox.planet.catalog import Planet

__all__ = ["Planet"]
