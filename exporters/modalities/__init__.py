"""One file per modality: what it is, and how Earth Engine computes it."""
