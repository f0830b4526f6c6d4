"""How large chips and shards are where nothing else is said."""

CHIP_PX = 128  # MMEarth's, at 10 m.
SHARD_ROWS = 512
