"""Pixels from Earth Engine; the only package that imports the `ee` client."""
