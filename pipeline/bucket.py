"""A store in a bucket of S3 (or an S3-compatible service) or of Google Cloud Storage, through obstore.

Credentials are read where the clouds' own tools read them. They are neither stored nor shown.
"""

from __future__ import annotations

import math
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline import fence
from pipeline.errors import Fatal, Transient
from pipeline.store import Buffer, Store

_INSTALL = "a store in a bucket needs more packages; install them: pip install 'geocorpus[cloud]'."
try:
    import obstore
    from obstore import exceptions
    from obstore.store import GCSStore, S3Store
    from zarr.storage import ObjectStore
except ImportError as error:
    raise Fatal(_INSTALL) from error

if TYPE_CHECKING:
    from obstore.store import ClientConfig, GCSCredential

# A larger object is uploaded in parts. Either way readers see the whole object or none. A killed upload in parts leaves
# invisible parts, which the bucket's life-cycle rule has to remove; a killed single request leaves nothing.
ONE_REQUEST_BYTES = 256 * 2**20
_PART_BYTES = 32 * 2**20
_NEAR_BYTES = 2**18  # What lies between is received for nothing: that takes as much of a core as a request does.
_PATIENT = {"retry_timeout": timedelta(minutes=4), "max_retries": 30}
_HASTY = {"retry_timeout": timedelta(seconds=15), "max_retries": 3}
# A request may take as long as 113 MB, a large shard, at 3 Mbit/s: the slowest connection that is still usable.
_TIMEOUTS: ClientConfig = {"timeout": timedelta(minutes=5), "connect_timeout": timedelta(seconds=10)}
_GOOGLE_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


class BucketStore(Store):
    """Objects below `s3://bucket/prefix` or `gs://bucket/prefix`. Requests are retried over short network failures."""

    folder = None

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle only the URL: another process reads the credentials itself."""
        return BucketStore, (self.url,)

    @cached_property
    def _client(self) -> Any:
        return _connect(self.url, _PATIENT)

    def zarr(self, *, read_only: bool) -> ObjectStore[Any]:
        return ObjectStore(self._client, read_only=read_only)

    @contextmanager
    def reading(self) -> Iterator[None]:
        with typed(self.url):
            yield

    def check(self) -> None:
        key, content = f".geocorpus-check-{uuid.uuid4().hex}", b"geocorpus"
        with typed(self.url):
            client = _connect(self.url, _HASTY)
            obstore.put(client, key, content)
            received = obstore.get(client, key).bytes().to_bytes()
            obstore.delete(client, key)
        if received != content:
            raise Fatal(f"{self.url} does not give back what is written to it; use another store.")

    def get(self, key: str) -> bytes | None:
        with typed(self.url):
            try:
                return obstore.get(self._client, key).bytes().to_bytes()
            except FileNotFoundError as error:
                _refuse_absent_bucket(error)
                return None

    def tail(self, key: str, count: int) -> bytes | None:
        end = self.end(key, count)
        return None if end is None else end[0]

    def end(self, key: str, count: int) -> tuple[bytes, int] | None:
        with typed(self.url):
            try:
                answer = obstore.get(self._client, key, options={"range": {"suffix": count}})
                return answer.bytes().to_bytes(), answer.meta["size"]
            except FileNotFoundError as error:
                _refuse_absent_bucket(error)
                return None
            except exceptions.BaseError:  # Of an object without a byte no range can be had.
                if obstore.head(self._client, key)["size"]:
                    raise
                return b"", 0

    def ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> list[Buffer] | None:
        """Spans less than 256 KiB apart share a request; what lies between them is thrown away."""
        if not spans:
            return []
        starts, stops = zip(*spans, strict=True)
        with typed(self.url):
            try:
                found = obstore.get_ranges(self._client, key, starts=starts, ends=stops, coalesce=_NEAR_BYTES)
            except FileNotFoundError as error:
                _refuse_absent_bucket(error)
                return None
        # Spans are views of all that came with their request, which stays in memory as long as they do.
        return [bytes(item) if waste else item for item, waste in zip(found, _wasteful(spans), strict=True)]

    def put(self, key: str, *parts: memoryview | bytes) -> None:
        """Publish an object, then compare its length and ETag with those that were sent."""
        content = parts[0] if len(parts) == 1 else b"".join(parts)
        fence.check()
        with typed(self.url):
            sent = obstore.put(
                self._client, key, content, chunk_size=_PART_BYTES, use_multipart=len(content) > ONE_REQUEST_BYTES
            )
            stored = obstore.head(self._client, key)
        if stored["size"] != len(content) or _tag(stored) != _tag(sent):
            raise Transient(f"{self.url}/{key} is not what was sent; make sure that nobody else writes there.")

    def create(self, key: str, content: bytes) -> bool:
        fence.check()
        with typed(self.url):
            try:
                obstore.put(self._client, key, content, mode="create", use_multipart=False)
            except exceptions.AlreadyExistsError:
                return False
        return True

    def delete(self, key: str) -> None:
        fence.check()
        with typed(self.url):
            try:
                obstore.delete(self._client, key)
            except FileNotFoundError as error:
                _refuse_absent_bucket(error)

    def present(self, keys: Iterable[str]) -> frozenset[str]:
        """By listing the objects below the keys' common folder: a thousand per request instead of one per request."""
        wanted = frozenset(keys)
        if not wanted:
            return wanted
        folder = os.path.commonpath([os.path.dirname(key) for key in wanted])
        return wanted & {item["path"] for item in self._listed(folder)}

    def _listed(self, folder: str = "") -> list[Any]:
        with typed(self.url):
            return [item for page in obstore.list(self._client, folder or None) for item in page]

    def names(self) -> list[str]:
        with typed(self.url):
            return sorted(obstore.list_with_delimiter(self._client)["common_prefixes"])

    def digest(self, key: str) -> str | None:
        digest = sha256()
        with typed(self.url):
            try:
                for part in obstore.get(self._client, key).stream():
                    digest.update(part)
            except FileNotFoundError as error:
                _refuse_absent_bucket(error)
                return None
        return f"sha256:{digest.hexdigest()}"

    def size_bytes(self) -> int:
        return sum(item["size"] for item in self._listed())


def _tag(described: Any) -> str:
    """The ETag without quotes, which some services add in some answers."""
    return (described["e_tag"] or "").strip('"')


def _connect(url: str, retries: dict[str, Any]) -> Any:
    parts = urlsplit(url)
    prefix = parts.path.strip("/")
    kind = _s3 if parts.scheme == "s3" else _google
    return kind(parts.netloc, prefix, {"retry_config": retries})


def _s3(bucket: str, prefix: str, options: dict[str, Any]) -> S3Store:
    """With the keys, region and endpoint of the AWS command line: environment, profiles, single sign-on, machine."""
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError as error:
        raise Fatal(_INSTALL) from error
    try:
        keys = Boto3CredentialProvider()
    except ValueError as error:
        raise Fatal("there are no AWS credentials; set AWS_PROFILE, or run `aws configure`.") from error
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    elsewhere: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
    client: ClientConfig = {**_TIMEOUTS, "allow_http": bool(endpoint and endpoint.startswith("http://"))}
    return S3Store(bucket, prefix=prefix, credential_provider=keys, client_options=client, **elsewhere, **options)


def _nobody() -> GCSCredential:
    """A dummy token for an emulator, which accepts any."""
    return {"token": "nobody", "expires_at": None}


def _google(bucket: str, prefix: str, options: dict[str, Any]) -> GCSStore:
    """With application default credentials, as Google's own clients use; or without any for a configured emulator."""
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if emulator:
        local: ClientConfig = {**_TIMEOUTS, "allow_http": True}
        return GCSStore(
            bucket, prefix=prefix, base_url=emulator, credential_provider=_nobody, client_options=local, **options
        )
    import google.auth
    from obstore.auth.google import GoogleCredentialProvider

    try:
        credentials, _ = google.auth.default(scopes=[_GOOGLE_SCOPE])
    except google.auth.exceptions.DefaultCredentialsError as error:
        raise Fatal(
            "there are no Google credentials; run `gcloud auth application-default login` "
            "or set GOOGLE_APPLICATION_CREDENTIALS."
        ) from error
    keys = GoogleCredentialProvider(credentials)
    return GCSStore(bucket, prefix=prefix, credential_provider=keys, client_options=_TIMEOUTS, **options)


def _wasteful(spans: Sequence[tuple[int, int]]) -> list[bool]:
    """Whether each of `spans` shares a request of which a quarter or more is thrown away."""
    result = [False] * len(spans)
    for group in _requests(spans):
        starts, stops = zip(*(spans[place] for place in group), strict=True)
        wasted = max(stops) - min(starts) - (sum(stops) - sum(starts))
        for place in group:
            result[place] = wasted * 4 >= max(stops) - min(starts)
    return result


def _requests(spans: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The places in `spans` of those that are near each other."""
    result: list[list[int]] = []
    stop = -math.inf
    for place in sorted(range(len(spans)), key=lambda place: spans[place]):
        if spans[place][0] - stop > _NEAR_BYTES:
            result.append([])
        result[-1].append(place)
        stop = max(stop, spans[place][1])
    return result


_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_CONNECTION = re.compile(r"kind: (\w+)")
# What google-auth and botocore raise when the sign-in server does not answer while they renew a token.
_SIGN_IN_CUT = re.compile(r"TransportError|ConnectionError|Connect(ion)?Timeout|ReadTimeout")
_RETRYABLE = {408, 425, 429}  # temporary refusals, although in the class of client errors


@contextmanager
def typed(url: str) -> Iterator[None]:
    """Turn errors of the bucket into `Fatal` or `Transient`, by what the user must do.

    Of a service's own text only the error code is shown: the rest may quote keys and signatures.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise _absent(url) from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        if _SIGN_IN_CUT.search(str(error)):
            raise Transient(f"the sign-in for {url} does not answer; run the same command again.") from error
        raise Fatal(
            f"{url} refuses these credentials{_code(error)}; "
            "ask for the right to list, read, write and delete objects there, or use others."
        ) from error
    except exceptions.BaseError as error:
        raise _by_status(url, error) from error


def _absent(url: str) -> Fatal:
    return Fatal(f"the bucket of {url}, or an object in it, does not exist; create it, or correct corpus.store.")


def _code(error: Exception) -> str:
    match = _CODE.search(str(error))
    return f" ({match[1]})" if match else ""


def _refuse_absent_bucket(error: FileNotFoundError) -> None:
    """Raise `error` when the bucket itself is absent; an absent object is no error."""
    if "NoSuchBucket" in str(error):
        raise error


def _by_status(url: str, error: Exception) -> Fatal | Transient:
    text = str(error)
    status = int(match[1]) if (match := _STATUS.search(text)) else 0
    if "NoSuchBucket" in text:
        return _absent(url)
    if "redirect" in text:
        return Fatal(f"the bucket of {url} is in another region; set AWS_REGION to its own.")
    if 400 <= status < 500 and status not in _RETRYABLE:
        return Fatal(f"{url} refuses the request{_code(error)}; check the credentials, the region and the endpoint.")
    why = f"HTTP {status}{_code(error)}" if status else _connection(text)
    return Transient(f"{url} does not answer ({why}); check the network and run the same command again.")


def _connection(text: str) -> str:
    match = _CONNECTION.search(text)
    return f"{match[1].lower()} failed" if match else "no connection"
