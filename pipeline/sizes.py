"""The default sizes of chips and shards."""

CHIP_PX = 128  # MMEarth's, at 10 m.
SHARD_ROWS = 512
