"""Earth Engine's functions, a file per subject."""
