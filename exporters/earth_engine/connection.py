"""How to reach Earth Engine, and how many requests to send: the defaults of the `[source]` settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from exporters.earth_engine.retry import Patience

STANDARD_URL = "https://earthengine.googleapis.com"
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Connection:
    """How to reach Earth Engine.

    `url` None is the public service. `credentials` are of google-auth, or a `SignIn`; None means the user's stored
    ones, or those of `sign_in.local` at a local address. They are never shown, nor compared: a copy sent to a worker is
    the same connection. A project may have 40 requests in flight and start 100 a second (developers.google.com/
    earth-engine/guides/usage): the defaults leave room for the user's other work. One of `profile_every` requests is
    profiled for its cost (0: none; `exporters.earth_engine.compute`). `deadline_s` is longer than the five minutes that
    a request may compute (guides/processing_environments), so the service itself says that a request took too long.
    """

    project: str
    url: str | None = None
    credentials: Any = field(default=None, repr=False, compare=False)
    concurrency: int = 20
    requests_per_s: float = 90.0
    deadline_s: float = 330.0
    profile_every: int = 0
    patience: Patience = Patience()
    seed: int = 0

    @property
    def base_url(self) -> str:
        """The address of the API, without a slash at the end."""
        return (self.url or STANDARD_URL).rstrip("/")

    @property
    def is_local(self) -> bool:
        """Whether the address is on this machine: a sandbox, which needs no credentials."""
        return urlsplit(self.base_url).hostname in LOCAL_HOSTS
