"""Rasters of one's own in place of Earth Engine: any file read onto a chip's grid, and many files as one layer."""
