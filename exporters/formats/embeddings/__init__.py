"""Embeddings of chips as files: a Zarr store of the `geoemb:` convention, and GeoParquet as Major TOM has it."""
