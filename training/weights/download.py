"""Downloads weights once into a cache folder, and checks their digest where one is given."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests

from pipeline import durable
from pipeline.errors import Fatal, Transient

_TIMEOUT_S = 60.0
_CHUNK_BYTES = 1 << 20


def cache_folder() -> Path:
    """The folder of downloaded weights: `geocorpus/weights` in the user's cache folder (XDG_CACHE_HOME)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "geocorpus" / "weights"


def fetch(url: str, sha256: str | None = None, folder: Path | None = None) -> Path:
    """The path of the file at `url`, from the cache if it is there and has the digest `sha256`.

    Raises `Fatal` for an address without TLS and without a digest, one that does not exist, or a file with another
    digest; `Transient` when the server does not answer.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and sha256 is None:
        raise Fatal(f"{url} is not https; give the file's sha256 as well, or an https address.")
    name = Path(parts.path).name or "weights"
    path = (folder or cache_folder()) / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{name}"
    if not path.exists() or (sha256 and digest_of(path) != sha256):
        durable.publish(path, lambda temporary: _download(url, temporary, sha256))
    return path


def digest_of(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _download(url: str, path: Path, sha256: str | None) -> None:
    try:
        with requests.get(url, stream=True, timeout=_TIMEOUT_S) as response:
            _refuse(url, response, sha256)
            with path.open("wb") as stream:
                stream.writelines(_chunks(response))
    except requests.RequestException as error:
        raise Transient(f"{url} cannot be fetched ({type(error).__name__}); try again later.") from error
    if sha256 and digest_of(path) != sha256:
        raise Fatal(f"{url} is not the file with sha256 {sha256}; check the address and the digest.")


def _refuse(url: str, response: requests.Response, sha256: str | None) -> None:
    steps = [response.url, *(step.url for step in response.history)]
    if sha256 is None and not all(step.startswith("https://") for step in steps):
        raise Fatal(f"{url} leads to an address that is not https; give the file's sha256 as well.")
    if response.status_code >= 500 or response.status_code == 429:
        raise Transient(f"{url} answers {response.status_code}; try again later.")
    if response.status_code != 200:
        raise Fatal(f"{url} answers {response.status_code}; check the address.")


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """The body in chunks; raises `requests.ConnectionError` for one that ends early."""
    expected, received = response.headers.get("Content-Length"), 0
    for chunk in response.iter_content(_CHUNK_BYTES):
        received += len(chunk)
        yield chunk
    if expected is not None and "Content-Encoding" not in response.headers and received != int(expected):
        raise requests.ConnectionError(f"{received} of {expected} bytes")
