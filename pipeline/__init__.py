"""The nouns of a corpus and its store: places, grids, modalities, manifest, shards, ledger."""
