"""Pixels on grids."""
