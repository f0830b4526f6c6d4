"""The database of the local Prefect servers, a file of ours: one that a killed run left broken is set aside.

It holds the history of flow runs. What is done is in the ledger of each corpus, so that a lost history costs its
pictures alone. A database that a person has configured is left as it is.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path

from flows.offline import configured, home_of_prefect

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

NAME = "geocorpus.db"  # not `prefect.db`: that one is the user's, who may run servers of their own on it
URL = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
_WITH_IT = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a database
# What SQLite says of a file or a layout that is wrong; it says other things of a full disk or a lock.
_BROKEN = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT}


class Broken(Exception):
    """The database cannot be opened, or not brought to this version of Prefect."""


def variables() -> dict[str, str]:
    """The environment variables of a local server, which say where its database is; none where a person says so."""
    if configured("PREFECT_SERVER_DATABASE_", "PREFECT_API_DATABASE_"):
        return {}
    return {URL: f"sqlite+aiosqlite:///{_place()}"}


def _place() -> Path:
    """In Prefect's folder, or in the system's temporary one where SQLite cannot lock files of the other."""
    home = Path(home_of_prefect())
    if can_lock(home):
        return home / NAME
    own = Path(tempfile.gettempdir()) / f"geocorpus-prefect-{os.getuid() if hasattr(os, 'getuid') else 'own'}"
    own.mkdir(mode=0o700, exist_ok=True)
    return own / NAME


def can_lock(folder: Path) -> bool:
    """Whether SQLite can lock a file in the folder; some network file systems have no locks."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".geocorpus-") as place:
            with closing(sqlite3.connect(Path(place) / "probe.db", timeout=1.0)) as probe:
                probe.execute("BEGIN EXCLUSIVE")
                probe.execute("CREATE TABLE probe (number INTEGER)")
                probe.commit()
    except (OSError, sqlite3.OperationalError):
        return False
    return True


def prepare() -> None:
    """Make or migrate the database that this process's environment names; a broken one of ours is set aside first.

    Raises what Prefect raises when even a new one cannot be made.
    """
    path = Path(os.environ.get(URL, "").removeprefix("sqlite+aiosqlite:///"))
    if path.name != NAME:
        return
    with _alone(path):
        try:
            _look_at(path)
            _migrate()
        except Broken as error:
            print(
                f"the history of Prefect's local server cannot be used ({error}); it is set aside as {set_aside(path)} "
                "and a new one begun: what is done is in the ledger.",
                file=sys.stderr,
            )
            _migrate()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Only one server at a time: two that migrate a new database at once would break it. Without locks, not alone."""
    with path.with_name(f".{path.name}.lock").open("w") as stream:
        if fcntl is not None:
            with suppress(OSError):
                fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _look_at(path: Path) -> None:
    """Raise `Broken` for a file that is damaged in a place where a migration need not look."""
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=10.0)) as database:
            (answer,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        _raise_if_broken(error)
        return
    if answer != "ok":
        raise Broken("its file is damaged")


def _migrate() -> None:
    from alembic.util import CommandError
    from prefect.server.database import provide_database_interface
    from sqlalchemy.exc import DatabaseError

    async def create() -> None:
        await provide_database_interface().create_db()

    try:
        asyncio.run(create())
    except DatabaseError as error:
        _raise_if_broken(error.orig)
        raise
    except CommandError as error:
        raise Broken(str(error)) from error


def _raise_if_broken(error: BaseException | None) -> None:
    code = getattr(error, "sqlite_errorcode", 0)
    if code & 0xFF in _BROKEN:  # the rest of it says which kind of that
        raise Broken(str(error)) from error


def set_aside(path: Path) -> Path:
    """Rename a database, with what lies beside it, to a name that is free; returns that name."""
    aside = next(name for number in count(1) if not (name := path.with_name(f"{path.name}.broken-{number}")).exists())
    for ending in ("", *_WITH_IT):
        with suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    return aside
