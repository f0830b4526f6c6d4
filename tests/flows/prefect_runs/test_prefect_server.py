"""The local Prefect server: nobody else is let in, and no database keeps it from starting."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import prefect.server.database
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.prefect_runs import configured_server, database, prefect_server
from pipeline.errors import Fatal
from pipeline.free_port import free_port
from pipeline.interpreter import module_command, safe_environment

MIGRATIONS = Path(prefect.server.database.__file__).parent / "_migrations" / "versions" / "sqlite"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as Prefect makes it."""
    path = tmp_path_factory.mktemp("whole") / database.NAME
    program = "from flows.prefect_runs import database; database.prepare()"
    run(path, program)
    return path


def run(path: Path, program: str) -> str:
    """Run a program as the server's process is run; returns what it says."""
    environment = os.environ | {database.URL: f"sqlite+aiosqlite:///{path}", "PREFECT_HOME": str(path.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stderr


def layout(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as opened:
        return sorted(name for (name,) in opened.execute("SELECT name FROM sqlite_schema"))


def stopped_in_a_migration(path: Path) -> None:
    """As kill -9 leaves it between a column that is added and the note that it was: the column is there already."""
    for script in sorted(MIGRATIONS.glob("*.py"), reverse=True):
        upgrade = script.read_text().partition("def downgrade")[0]
        before = re.search(r'^down_revision\b.*=\s*"(\w+)"', upgrade, re.MULTILINE)
        if "add_column" in upgrade and before:
            with closing(sqlite3.connect(path)) as opened:
                opened.execute("UPDATE alembic_version SET version_num = ?", before.groups())
                opened.commit()
            return


def of_another_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as opened:
        opened.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        opened.commit()


def damaged_inside(path: Path) -> None:
    """A page that no migration reads."""
    with closing(sqlite3.connect(path)) as opened:
        (page,) = opened.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'flow_run_state'").fetchone()
        (size,) = opened.execute("PRAGMA page_size").fetchone()
    content = bytearray(path.read_bytes())
    content[(page - 1) * size : page * size] = b"\xff" * size
    path.write_bytes(content)


BROKEN = {
    "stopped in a migration": stopped_in_a_migration,
    "of another version": of_another_version,
    "damaged inside": damaged_inside,
    "cut": lambda path: os.truncate(path, 40_000),
    "no database": lambda path: path.write_bytes(b"no database" * 1000),
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_database_is_set_aside_and_said(whole: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / database.NAME
    path.write_bytes(whole.read_bytes())
    BROKEN[kind](path)
    broken = path.read_bytes()
    said = run(path, "from flows.prefect_runs import database; database.prepare()")
    aside = tmp_path / f"{database.NAME}.broken-1"
    assert aside.read_bytes() == broken, "nothing is thrown away"
    assert said.count("\n") == 1 and str(aside) in said and "what is done is in the ledger" in said
    assert layout(path) == layout(whole)


@pytest.mark.slow
def test_one_that_works_stays(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / database.NAME
    path.write_bytes(whole.read_bytes())
    assert run(path, "from flows.prefect_runs import database; database.prepare()") == ""
    assert sorted(item.name for item in tmp_path.glob("geo*")) == [database.NAME]
    assert layout(path) == layout(whole)


def test_a_database_in_use_is_not_a_broken_one(tmp_path: Path) -> None:
    path = tmp_path / database.NAME
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE t (x)")
        other.execute("BEGIN EXCLUSIVE")
        with closing(sqlite3.connect(path, timeout=0)) as second, pytest.raises(sqlite3.OperationalError) as locked:
            second.execute("SELECT * FROM t")
    database._raise_if_broken(locked.value)


def test_what_is_set_aside_takes_a_free_name_and_its_journal(tmp_path: Path) -> None:
    for number in (1, 2):
        for ending in ("", "-wal"):
            (tmp_path / f"{database.NAME}{ending}").write_text(f"{number}{ending}")
        aside = database.set_aside(tmp_path / database.NAME)
        assert aside.name == f"{database.NAME}.broken-{number}" and aside.read_text() == f"{number}"
        assert aside.with_name(f"{aside.name}-wal").read_text() == f"{number}-wal"
    assert not (tmp_path / database.NAME).exists()


def test_a_database_that_a_person_configured_is_left_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    assert database.variables() == {database.URL: f"sqlite+aiosqlite:///{tmp_path / database.NAME}"}
    theirs = tmp_path / "theirs.db"
    theirs.write_bytes(b"no database")
    monkeypatch.setenv(database.URL, f"sqlite+aiosqlite:///{theirs}")
    assert database.variables() == {}
    database.prepare()
    assert theirs.read_bytes() == b"no database" and len(list(tmp_path.glob("*.db*"))) == 1
    monkeypatch.delenv(database.URL)
    (tmp_path / "profiles.toml").write_text(
        'active = "mine"\n[profiles.mine]\nPREFECT_API_DATABASE_CONNECTION_URL = "postgresql+asyncpg://host/name"\n'
    )
    assert database.variables() == {}


def test_where_no_file_can_be_locked_the_database_is_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    assert database.can_lock(tmp_path) and not list(tmp_path.iterdir())
    monkeypatch.setattr(database, "can_lock", lambda folder: False)
    (url,) = database.variables().values()
    elsewhere = Path(url.removeprefix("sqlite+aiosqlite:///"))
    assert tmp_path not in elsewhere.parents and elsewhere.parent.stat().st_mode & 0o077 == 0


@pytest.mark.slow
@pytest.mark.xdist_group("prefect")
@pytest.mark.timeout(300)
def test_only_the_run_is_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    with prefect_server.running() as server:
        assert server.auth_string.partition(":")[2] not in repr(server)
        for request in ("admin/version", "flows/filter", "work_pools/filter"):
            body = None if request.startswith("admin") else b"{}"
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(urllib.request.Request(f"{server.url}/{request}", data=body), timeout=30)
            assert refused.value.code == 401
        with server.reached(), get_client(sync_client=True) as client:
            assert client.api_version()
        with temporary_settings({PREFECT_API_URL: server.url}):
            with pytest.raises(Fatal, match="refuses this process; set PREFECT_API_AUTH_STRING"):
                configured_server.refuse_unusable()
    assert (tmp_path / database.NAME).exists() and not (tmp_path / "prefect.db").exists()


@pytest.mark.slow
def test_it_ends_when_its_parent_went_before_it_was_ready(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    assert gone.wait(timeout=60) == 0
    command = module_command("flows.prefect_runs.prefect_server", f"{free_port()}", f"{gone.pid}")
    server = subprocess.Popen(command, env=safe_environment(PREFECT_HOME=f"{tmp_path}"))
    assert server.wait(timeout=120) == -signal.SIGKILL


class _Open(BaseHTTPRequestHandler):
    """As much of a Prefect server without a password as a question for its version needs."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'"3.9.1"' if self.path == "/api/admin/version" else b"<html>sign in</html>")

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Nothing."""


@contextmanager
def open_server() -> Iterator[int]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), _Open)
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield running.server_port
    finally:
        running.shutdown()
        running.server_close()


def test_a_server_on_a_network_that_asks_nobody_is_refused() -> None:
    """0.0.0.0 is answered by this machine, and is no loopback address by its number: it stands for another one."""
    with open_server() as port:
        assert configured_server.lets_anyone_in(f"http://127.0.0.1:{port}/api")
        assert not configured_server.lets_anyone_in(f"http://127.0.0.1:{port}/login")
        configured_server._refuse_open_network(f"http://127.0.0.1:{port}/api")
        with pytest.raises(Fatal, match="asks nobody for a password, and a network lies in between"):
            configured_server._refuse_open_network(f"http://0.0.0.0:{port}/api")
