"""Compare what is on disk with what the ledger says was written."""

from __future__ import annotations

from pathlib import Path

from pipeline.corpus import Corpus
from pipeline.errors import Fatal


def verify(folder: Path) -> str:
    """Check every finished object's digest; returns one sentence, raises `Fatal` naming the damaged ones."""
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
