"""Who may speak to a cluster: certificates for the clusters that a run starts, and no open scheduler on a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.errors import Fatal
from pipeline.loopback import is_loopback
from pipeline.stopping import at_stop

FOLDER = ".certificates"  # in the corpus folder, which every worker sees; one run at a time holds the corpus
_ENCRYPTED = ("tls", "wss")


def temporary() -> Any:
    """A `distributed.Security` with a key of its own, kept in memory: whoever lacks that key is refused.

    Scheduler, workers, their nannies and the client all show the one certificate, and accept no other.
    """
    from distributed import Security

    return Security.temporary()


def in_files(folder: Path) -> Any:
    """As `temporary`, with the certificate and its key in files of `folder`, for processes that are started by others.

    Only this user can read the key.
    """
    from distributed import Security

    made = temporary()
    certificate, key = folder / "cert.pem", folder / "key.pem"
    for path, text in ((certificate, made.tls_ca_file), (key, made.tls_client_key)):
        path.touch(mode=0o600)
        path.write_text(text)
    roles = ("client", "scheduler", "worker")
    paths = {f"tls_{role}_cert": str(certificate) for role in roles} | {f"tls_{role}_key": str(key) for role in roles}
    return Security(require_encryption=True, tls_ca_file=str(certificate), **paths)


@contextmanager
def shared_folder(corpus: Path) -> Iterator[Path]:
    """A folder for the keys of workers on other machines, closed to other users and removed at the end.

    A killed run leaves one behind, which the next run removes first. Raises `OSError` when it cannot be made.
    """
    folder = corpus / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    try:
        with at_stop(partial(shutil.rmtree, folder, ignore_errors=True)):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_open(address: str) -> bool:
    """Whether a scheduler's address is one at which Dask asks nobody for a certificate."""
    return _scheme_and_host(address)[0] not in _ENCRYPTED


def refuse_open_network(address: str) -> None:
    """Raise `Fatal` for the address of a scheduler without TLS on another machine.

    Whoever reaches such a scheduler runs code as its owner, and reads the secrets of a run that are sent through it.
    """
    if is_open(address) and not is_loopback(_scheme_and_host(address)[1]):
        raise Fatal(
            f"the Dask scheduler at {address} asks nobody for a certificate, and a network lies in between; start it "
            "and its workers with TLS, as docs/cluster.md shows, and give its tls:// address."
        )


def _scheme_and_host(address: str) -> tuple[str, str]:
    """The protocol, which is TCP where none is written, and the host."""
    written = address if "://" in address else f"tcp://{address}"
    parts = urlsplit(written)
    return parts.scheme, parts.hostname or ""
