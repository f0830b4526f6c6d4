"""A selection as a Zarr store of version 2 without shards: the encodings that GDAL 3.8 reads, by chip or by layer."""
