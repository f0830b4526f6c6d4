"""Which corpus a store belongs to: a token that the store and the corpus folder both keep, and that each export renews.

A store at its usual place inside a corpus folder needs none: it belongs to that folder, wherever that is moved or
copied to. Elsewhere, a folder that does not know the token is another corpus, or a copy that was left behind.
"""

from __future__ import annotations

import json
import socket
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline import durable
from pipeline.corpus_folder import MANIFEST, STORE
from pipeline.errors import Fatal
from pipeline.store import Store

OWNER = "store_owner.json"  # in the corpus folder
# Beside the metadata of the first coordinate: zarr-python warns of strange objects where it looks for arrays.
OWNER_KEY = "chip/geocorpus-owner.json"


@dataclass(frozen=True)
class Owner:
    """Who wrote to a store last: the token, and for people the folder and host."""

    token: str
    folder: str
    host: str

    @classmethod
    def of(cls, store: Store) -> Owner | None:
        """What the store says; None for one without an owner. Raises `Fatal` when it is damaged."""
        content = store.get(OWNER_KEY)
        if content is None:
            return None
        try:
            return cls(**json.loads(content))
        except (ValueError, TypeError) as error:
            raise Fatal(f"{store.url}/{OWNER_KEY} is damaged; delete it, and run the same command again.") from error


def claim(folder: Path, store: Store) -> None:
    """Make the store that of the corpus in `folder`, before anything is written to it, and renew the token.

    Raises `Fatal` when it belongs to another corpus, or another copy of this folder has written to it.
    """
    owner = refuse_other(folder, store)
    if _is_inside(folder, store):
        return
    mine, before = Owner(uuid.uuid4().hex, str(folder.absolute()), socket.gethostname()), _tokens(folder)
    content = json.dumps(asdict(mine)).encode()
    # The folder knows both tokens until the store has the new one, or a crash in between would lock it out.
    _remember(folder, [*before, mine.token])
    if owner is None:
        store.create(OWNER_KEY, content)
    else:
        store.put(OWNER_KEY, content)
    if Owner.of(store) != mine:  # of two that create it at once, one has failed
        _remember(folder, before)
        refuse_other(folder, store)
    _remember(folder, [mine.token])


def refuse_other(folder: Path, store: Store) -> Owner | None:
    """The owner in the store, None without one; raises `Fatal` when that is another corpus than the one in `folder`."""
    other = _corpus_around(store)
    if other and not (folder.exists() and other.samefile(folder)):
        raise _refusal(store, f"the corpus in {other}", "")
    owner, known = Owner.of(store), _tokens(folder)
    if owner is None or owner.token in known:
        return owner
    who = f"the corpus in {owner.folder} on {owner.host}"
    more = f", or, if that is gone for good, delete {store.url}/{OWNER_KEY}"
    raise _refusal(store, f"another copy of this one, {who}, which has written to it since" if known else who, more)


def _refusal(store: Store, who: str, more: str) -> Fatal:
    return Fatal(f"the store {store.url} belongs to {who}; go on there, give this one a corpus.store of its own{more}.")


def _is_inside(folder: Path, store: Store) -> bool:
    """Whether the store is at its usual place in the folder itself, and no link to another place."""
    return store.folder is not None and store.folder.resolve() == folder.resolve() / STORE


def _corpus_around(store: Store) -> Path | None:
    """The corpus folder in which the store is at its usual place; None where there is none."""
    if store.folder is None or store.folder.resolve().name != STORE:
        return None
    around = store.folder.resolve().parent
    return around if (around / MANIFEST).exists() else None


def _remember(folder: Path, tokens: list[str]) -> None:
    if tokens:
        durable.write_json(folder / OWNER, {"tokens": tokens})
    else:
        (folder / OWNER).unlink(missing_ok=True)


def _tokens(folder: Path) -> list[str]:
    """The tokens that the folder knows: one, or two where a claim was killed."""
    path = folder / OWNER
    if not path.exists():
        return []
    try:
        return [str(token) for token in durable.read_json(path)["tokens"]]
    except (KeyError, TypeError) as error:
        raise Fatal(f"{path} is damaged; delete it, and run the same command again.") from error
