"""Write a selection in another format: beside its target first, then in its place in one step."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from exporters.formats.embeddings.store import embeddings_left
from exporters.formats.format import Format, Options, formats
from exporters.formats.leavings import Leavings, nothing, refuse_foreign
from exporters.formats.selection import Selection
from exporters.formats.target_lock import target_locked
from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.corpus_folder import LOCATIONS
from pipeline.errors import Fatal
from pipeline.imported import IMPORTED
from pipeline.progress import Progress
from pipeline.stopping import at_stop, keeping_nothing

_DRAFT, _OLD = ".draft.tmp", ".old.tmp"


def write_out(
    chosen: Format, selection: Selection, target: Path, options: Options, overwrite: bool, progress: Progress
) -> str:
    """Write `selection` to `target`, a file or a folder; returns the format's line about it.

    A target that is killed half-way is not there. Raises `Fatal` for a target that exists, unless `overwrite`, and as
    the format's writer does.
    """
    return put_out(
        [selection.corpus], target, overwrite, lambda draft: chosen.write(selection, draft, options, progress)
    )


def put_out(corpora: Sequence[Corpus], target: Path, overwrite: bool, write: Callable[[Path], str]) -> str:
    """Let `write` fill a draft beside `target` from what it reads of `corpora`, then put it in place; its line.

    A signal while it writes leaves no draft, which nothing would go on from. Raises as `placing` does.
    """
    with placing(corpora, target, overwrite):
        draft = draft_beside(target)
        _remove(draft)
        try:
            with keeping_nothing(), at_stop(lambda: _remove(draft)):
                line = write(draft)
            put_in_place(draft, target)
        finally:
            _remove(draft)
    return line


@contextmanager
def placing(corpora: Sequence[Corpus], target: Path, overwrite: bool, leaves: Leavings = nothing) -> Iterator[None]:
    """Keep `target` for this process while something is written beside it and put in its place.

    Raises `Fatal` for a target that exists, unless `overwrite`, that is one of the `corpora`, holds it or lies in it,
    that another process writes, that `overwrite` cannot mean, and where the disk fails. A folder is replaced only if
    a format, or the writer that `leaves` is of, left there all that is in it.
    """
    refuse_address(target)
    for corpus in corpora:
        refuse_own_folder(corpus, target)
    made = durable.absent_folders(target.parent)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target_locked(target):
            restore(target)
            if target.exists() and not overwrite:
                raise Fatal(f"{target} exists; choose another target, or give --overwrite.")
            _refuse_precious(target)
            refuse_foreign(target, [leaves, embeddings_left, *(item.leaves for item in formats().values())])
            yield
    except OSError as error:
        raise durable.unwritable(target, error) from error
    finally:
        durable.remove_empty(made)


def refuse_address(target: Path) -> None:
    """Raise `Fatal` for a target in a bucket or on the web, which a `Path` has as "s3:/bucket/name"."""
    first = target.parts[0] if target.parts else ""
    if len(first) > 2 and first.endswith(":"):
        address = str(target).replace(":/", "://", 1)
        raise Fatal(f"{address} is no folder of this machine; write to one, and copy it there with the service's tool.")


def refuse_own_folder(corpus: Corpus, target: Path) -> None:
    """Raise `Fatal` if the target is the corpus that is read, holds it or lies in it, or has no name of its own."""
    if target.name in ("", ".."):
        raise Fatal(f"{target} is no name for what is written; choose another target.")
    wanted = target.resolve()
    for folder in {corpus.folder.resolve(), (corpus.store.folder or corpus.folder).resolve()}:
        if wanted.is_relative_to(folder) or folder.is_relative_to(wanted):
            raise Fatal(f"{target} holds the corpus itself, or lies in it; choose another target.")


def _refuse_precious(target: Path) -> None:
    """Raise `Fatal` for a folder that people work in, and for a corpus that was pulled and not made of another."""
    wanted = target.resolve()
    if any(place.is_relative_to(wanted) for place in (Path.cwd(), Path.home().resolve())):
        raise Fatal(f"{target} is, or holds, the working folder or your home; choose another target.")
    if any((target / name).exists() for name in (LOCATIONS, IMPORTED)):
        raise Fatal(
            f"{target} holds a corpus whose pixels were pulled or imported, and --overwrite would delete it; choose "
            "another target, or remove that folder yourself."
        )


def draft_beside(target: Path) -> Path:
    """Where a target is written before it has its name."""
    return target.with_name(f".{target.name}{_DRAFT}")


def put_in_place(draft: Path, target: Path) -> None:
    """Force a draft to disk and give it its name, in the place of what has it. Raises `OSError`."""
    durable.sync_tree(draft)
    old = _old(target)
    _remove(old)
    if target.exists():
        target.replace(old)
    draft.replace(target)
    durable.sync_folder(target.parent)
    _remove(old)


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}{_OLD}")


def restore(target: Path) -> None:
    """Put back what a process that was killed between its two renames had moved aside."""
    if _old(target).exists() and not target.exists():
        _old(target).replace(target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
