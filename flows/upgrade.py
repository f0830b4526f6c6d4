"""A corpus of an older release gets the checksums of this one."""

from __future__ import annotations

from pathlib import Path

from pipeline import older_format
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.lock import locked
from pipeline.progress import Progress
from pipeline.upgrade import upgrade as upgrade_store


def upgrade(folder: Path, progress: Progress) -> str:
    """Upgrade the store of the corpus in `folder`; returns one sentence. Raises `Fatal` that names damaged shards."""
    older_format.keep_silent(folder)
    with locked(folder):
        corpus = Corpus.open(folder)
        outcome = upgrade_store(corpus, progress)
    if outcome.damaged:
        more = f" and {len(outcome.damaged) - 5} more" if len(outcome.damaged) > 5 else ""
        raise Fatal(
            f"damaged in {folder}, and left as it was: {', '.join(outcome.damaged[:5])}{more}; run "
            f"`geocorpus verify {folder} --repair`, `geocorpus export {folder}`, and the same command again."
        )
    if not outcome.rewritten:
        return f"All chips in {folder} carry checksums."
    return f"{outcome.rewritten} objects in {folder} got checksums: all its chips carry them now."
