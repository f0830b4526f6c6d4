"""Compare the stored objects with the digests in the ledger."""

from __future__ import annotations

from pathlib import Path

from pipeline.corpus import Corpus
from pipeline.errors import Fatal


def verify(folder: Path) -> str:
    """Check the digest of every finished object; returns one sentence. Raises `Fatal` that names the damaged ones."""
    corpus = Corpus.open(folder)
    finished = [
        (name, shard)
        for name in sorted(corpus.modalities)
        for shard in corpus.shards
        if shard.index in corpus.ledger.done(name)
    ]
    damaged = [f"{name} shard {shard.index}" for name, shard in finished if not corpus.verify(name, shard)]
    if damaged:
        raise Fatal(
            f"{len(damaged)} stored objects differ from the ledger: {', '.join(damaged[:5])}; "
            "delete their ledger entries and export again."
        )
    return f"{len(finished)} stored objects are as the ledger says."
