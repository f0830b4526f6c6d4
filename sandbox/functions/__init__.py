"""Earth Engine's functions, one file per subject."""
