"""Nobody but the run speaks to the cluster that it starts: not another user of this machine, not one on the network."""

from __future__ import annotations

import shlex
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client, Security

from flows.cluster import certificates, cluster
from flows.settings import ClusterSettings
from pipeline.errors import Fatal
from pipeline.interpreter import interpreter
from tests.flows.cluster.test_cluster import Noted


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The run's client of a cluster of one worker, as `cluster.kind=local` starts it."""
    settings = ClusterSettings(kind="local", workers=1, threads=1)
    with cluster._configured(), cluster._client(settings, tmp_path_factory.mktemp("corpus")) as client:
        client.wait_for_workers(1, timeout=60)
        yield client


def stranger(certified_by: Security | None = None) -> ssl.SSLContext:
    """The context of one who trusts everyone, and shows a certificate of their own or none."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certified_by is not None:
        own = certified_by.get_connection_args("client")["ssl_context"]
        own.check_hostname, own.verify_mode = False, ssl.CERT_NONE
        return own
    return context


def said_to(host: str, port: int, context: ssl.SSLContext | None) -> bytes:
    """What a server says to one who has just connected; nothing when it hangs up. Dask's servers greet first."""
    with socket.create_connection((host, port), timeout=10) as plain:
        try:
            if context is None:
                plain.sendall(bytes(64))  # a server that wants TLS waits for the first words
                return plain.recv(64)
            return context.wrap_socket(plain).recv(64)
        except (ssl.SSLError, ConnectionError):
            return b""


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
class TestLocal:
    def test_the_run_itself_comes_in(self, client: Any) -> None:
        assert client.scheduler.address.startswith("tls://127.0.0.1:")
        assert client.submit(sum, (2, 3)).result(timeout=60) == 5

    @pytest.mark.parametrize("who", ["plain", "no certificate", "another certificate"])
    def test_strangers_do_not(self, client: Any, who: str) -> None:
        """At the scheduler, at the worker, and at the nanny, which starts processes when asked."""
        info = client.scheduler_info()["workers"]
        doors = [client.scheduler.address, *info, *(worker["nanny"] for worker in info.values())]
        assert len(doors) == 3
        for door in doors:
            host, port = door.removeprefix("tls://").split(":")
            context = None if who == "plain" else stranger(Security.temporary() if who.startswith("another") else None)
            assert said_to(host, int(port), context) == b"", door
            own = client.security.get_connection_args("client")["ssl_context"]
            assert said_to(host, int(port), own) != b"", "so that the silence means a refusal"

    def test_strangers_submit_nothing(self, client: Any) -> None:
        address = client.scheduler.address
        for door, security in ((address, Security.temporary()), (address.replace("tls:", "tcp:"), None)):
            with pytest.raises(OSError):
                Client(door, security=security, set_as_default=False, timeout=2)

    def test_nothing_listens_for_other_machines_or_shows_pages(self, client: Any) -> None:
        own = psutil.Process()
        listening = {
            connection.laddr
            for process in (own, *own.children(recursive=True))
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert len(listening) >= 5, "three servers, and two that would show pages"
        for ip, port in listening:
            assert ip in ("127.0.0.1", "::1")
            for page in ("info/main/workers.html", "health", "metrics", "json/counts.json"):
                with pytest.raises((urllib.error.URLError, OSError)):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=10)


def test_a_slurm_job_is_what_the_settings_say(tmp_path: Path) -> None:
    ours = ClusterSettings(
        kind="slurm", queue="long", account="geo", cores=4, memory="16GiB", walltime="12:00:00", threads=2,
        host="127.0.0.1", directives=("--exclusive",),
    )  # fmt: skip
    with certificates.shared_folder(tmp_path) as keys:
        jobs = cluster.slurm(ours, keys)
        try:
            lines = jobs.job_script().splitlines()
            files = sorted(keys.iterdir())
            assert keys.stat().st_mode & 0o077 == 0
            assert files and all(path.stat().st_mode & 0o077 == 0 for path in files)
            assert any("PRIVATE KEY" in path.read_text() for path in files)
        finally:
            jobs.close()
    for wanted in ("-p long", "-A geo", "--cpus-per-task=4", "--mem=16G", "-t 12:00:00", "--exclusive"):
        assert f"#SBATCH {wanted}" in lines
    assert shlex.split(lines[-1])[:4] == [*interpreter(), "-m", "distributed.cli.dask_worker"]
    assert "export PYTHONSAFEPATH=1" in lines
    assert "--nworkers 2" in lines[-1] and "--nthreads 2" in lines[-1] and "tls://127.0.0.1:" in lines[-1]
    assert not [line for line in lines if "PRIVATE KEY" in line or "BEGIN" in line], "any user sees a command line"
    for option in ("--tls-ca-file", "--tls-cert", "--tls-key"):
        assert f"{option} {keys}/" in lines[-1]
    assert not list(tmp_path.iterdir()), "keys of a cluster that is gone are gone"


def test_the_keys_of_a_killed_run_go_first(tmp_path: Path) -> None:
    left = tmp_path / certificates.FOLDER
    left.mkdir(mode=0o755)
    (left / "key").write_text("old")
    with certificates.shared_folder(tmp_path) as keys:
        assert keys == left and not list(keys.iterdir()) and keys.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("address", ["tcp://10.0.0.1:8786", "head:8786", "tcp://[fe80::1]:8786", "ws://head:8786"])
def test_a_scheduler_that_is_open_to_a_network_is_refused(address: str) -> None:
    with pytest.raises(Fatal, match="asks nobody for a certificate, and a network lies in between; start it"):
        cluster.check(ClusterSettings(kind="address", address=address))


@pytest.mark.parametrize(
    ("address", "said"),
    [("tls://head:8786", 0), ("wss://head:8786", 0), ("tcp://127.0.0.1:8786", 1), ("localhost:8786", 1)],
)
def test_one_that_is_open_to_this_machine_is_told_of(address: str, said: int) -> None:
    progress, settings = Noted(), ClusterSettings(kind="address", address=address)
    cluster.check(settings)
    cluster._warn_of_open_scheduler(settings, progress)
    assert len(progress.said) == said
    assert all("every user of this machine can run code as you" in sentence for sentence in progress.said)
