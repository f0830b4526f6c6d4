"""Checks of the values of each shard before it is written, and their findings added up for a corpus."""
