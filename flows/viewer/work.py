"""The run at work on a corpus: shards that are done of each layer, and what the run says of itself."""

from __future__ import annotations

from typing import Any

from flows.progress.progress_file import Run, derived
from pipeline.corpus import Corpus


def at_work(corpus: Corpus) -> dict[str, Any]:
    """Shards done of each layer, and the run that lives: its stage, count and figures; for JSON."""
    done = {name: _done(corpus, name) for name in sorted(corpus.modalities)}
    return {"shards": len(corpus.shards), "done": done, "run": _shown(Run.of(corpus.folder))}


def _done(corpus: Corpus, name: str) -> int:
    """Shards with an entry. Only where the corpus has grown an entry is read: to read all takes seconds, each time."""
    grown = {state.rows // corpus.shard_rows for state in corpus.manifest.ancestors}
    marked = [index for index in corpus.ledger.done(name) if index < len(corpus.shards)]
    return sum(index not in grown or corpus.is_finished(name, index) for index in marked)


def _shown(run: Run | None) -> dict[str, Any] | None:
    if run is None or not run.is_live:
        return None
    snapshot = run.snapshot
    figures = {name: f"{value:,.4g}" if isinstance(value, float) else f"{value}"
               for name, value in (derived(snapshot) | snapshot.figures).items()}  # fmt: skip
    return {"stage": snapshot.stage, "done": snapshot.done, "total": snapshot.total, "figures": figures}
