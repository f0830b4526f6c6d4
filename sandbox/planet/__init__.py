"""A procedural Earth that answers under Earth Engine's asset ids: see docs/planet.md."""

from sandbox.planet.catalog import Planet

__all__ = ["Planet"]
