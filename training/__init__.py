"""Training and evaluation of encoders on the shards of a corpus; the only package that imports torch."""
