"""HTTP requests as a session prepares them, without preparing anew what a thousand of them have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import requests

_MOST_KINDS = 64


class _Kind(NamedTuple):
    """A request as its session has prepared it, and the proxies and certificates that the environment names for it."""

    request: requests.PreparedRequest
    settings: Mapping[str, Any]


class Preparation:
    """Prepares the requests of one session. Safe for many threads.

    Requests of one kind have a method, an address and names of headers in common: addresses and headers are then
    checked, and the environment is read, for the first of them alone. One with cookies, or whose headers the session
    changes (a password in `~/.netrc`), is always prepared by the session.
    """

    def __init__(self, session: requests.Session) -> None:
        self._session = session
        self._kinds: dict[tuple[str, ...], _Kind] = {}

    def sent(self, method: str, uri: str, body: Any, headers: Any, **options: Any) -> requests.Response:
        """As `Session.request`: `options` are those of `Session.send`."""
        request, settings = self._prepared(method, uri, body, dict(headers or {}))
        return self._session.send(request, **{**settings, **options})

    def _prepared(self, method: str, uri: str, body: Any, headers: Mapping[str, str]) -> _Kind:
        key = (method, uri, *headers)
        known = self._kinds.get(key)
        if known is None or self._session.cookies or not _is_plain(body, headers):
            return self._learned(key, method, uri, body, headers)
        request = requests.PreparedRequest()
        request.method, request.url, request.hooks = known.request.method, known.request.url, known.request.hooks
        request._cookies = known.request._cookies  # type: ignore[attr-defined]
        request.headers = known.request.headers.copy()
        request.headers.update(headers)
        request.body = body
        request.prepare_content_length(body)
        return _Kind(request, known.settings)

    def _learned(self, key: tuple[str, ...], method: str, uri: str, body: Any, headers: Mapping[str, str]) -> _Kind:
        request = self._session.prepare_request(requests.Request(method, uri, data=body, headers=headers))
        settings = self._session.merge_environment_settings(request.url, {}, None, None, None)
        kind = _Kind(request, {name: value for name, value in settings.items() if name != "stream"})
        unchanged = all(request.headers.get(name) == value for name, value in headers.items())
        if unchanged and _is_plain(body, headers) and not self._session.cookies and len(self._kinds) < _MOST_KINDS:
            self._kinds[key] = kind
        return kind


def _is_plain(body: Any, headers: Mapping[str, str]) -> bool:
    """Whether nothing is to be encoded or refused: a text, and headers of one line each."""
    lines = all(isinstance(value, str) and "\n" not in value and "\r" not in value for value in headers.values())
    return isinstance(body, str) and lines
