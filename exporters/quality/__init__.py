"""Checks at the door: what is inspected before a shard is written, and what it adds up to."""
