"""The corpus to which a run or a fine-tuned model belongs, by where it lies."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import Fatal


def corpus_of(weights: str, shelf: str) -> Path:
    """The folder whose `shelf`, "runs" for example, holds `weights`, a file or a folder.

    Raises `Fatal` for weights that are not there, or lie elsewhere.
    """
    path = Path(weights)
    if not path.exists() and "://" not in weights:
        raise Fatal(f"there is nothing at {weights}; check the path.")
    for part in (path.resolve(), path.resolve().parent):
        if part.parent.name == shelf:
            return part.parent.parent
    raise Fatal(f"{weights} is not in the {shelf} of a corpus; say which corpus with --corpus FOLDER.")
