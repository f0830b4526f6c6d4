"""The token endpoint, as Google's: what it gives a token for, what it refuses, and what a token is good for.

It knows no accounts. A key file's signature is not looked at. A refresh token says itself what was granted with it:
"granted/earthengine+openid". Requests without a token, or with one from elsewhere, are let in: a sandbox needs none.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
from collections.abc import Mapping
from urllib.parse import parse_qsl

from sandbox.errors import EarthEngineError
from sandbox.limits import Limits

PATH = "/token"
GRANTED = "granted/"
LIFETIME_S = 3599
_MARK = "sandbox."
_SCOPE = "https://www.googleapis.com/auth/"
_JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class _Refused(Exception):
    """What the endpoint answers with status 400 (RFC 6749, section 5.2)."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.body = {"error": error, "error_description": description}


class Tokens:
    """The tokens that were given, with their scopes; thread-safe."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._given: dict[str, frozenset[str]] = {}
        self._lock = threading.Lock()

    def answer(self, raw: bytes) -> tuple[int, bytes]:
        """The status and the JSON body for a request for a token, a form as in RFC 6749."""
        try:
            return 200, json.dumps(self._token(dict(parse_qsl(raw.decode("utf-8", "replace"))))).encode()
        except _Refused as error:
            return 400, json.dumps(error.body).encode()

    def forget(self) -> None:
        """Let every token that was given be expired."""
        with self._lock:
            self._given.clear()

    def check(self, authorization: str | None) -> None:
        """Raise EarthEngineError for one of our tokens that has expired (401) or lacks the scope (403)."""
        token = (authorization or "").removeprefix("Bearer ")
        if not token.startswith(_MARK) or self._limits.scopes is None:
            return
        with self._lock:
            scopes = self._given.get(token)
        if scopes is None:
            raise EarthEngineError(
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
                "valid authentication credential.", 401
            )  # fmt: skip
        if scopes.isdisjoint(self._limits.scopes):
            raise EarthEngineError("Request had insufficient authentication scopes.", 403)

    def _token(self, form: Mapping[str, str]) -> dict[str, str | int]:
        scopes = frozenset(_scopes(form).split())
        if not scopes and self._limits.scopes is not None:
            raise _Refused("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        token = _MARK + secrets.token_urlsafe(24)
        with self._lock:
            self._given[token] = scopes
        return {"access_token": token, "expires_in": LIFETIME_S, "token_type": "Bearer", "scope": " ".join(scopes)}


def _scopes(form: Mapping[str, str]) -> str:
    kind = form.get("grant_type")
    if kind == _JWT:
        return str(_claims(form.get("assertion", "")).get("scope", ""))
    if kind != "refresh_token":
        raise _Refused("unsupported_grant_type", f"Invalid grant_type: {kind}")
    token = form.get("refresh_token", "")
    if not token.startswith(GRANTED):
        raise _Refused("invalid_grant", "Token has been expired or revoked.")
    granted = {name if name == "openid" else _SCOPE + name for name in token.removeprefix(GRANTED).split("+") if name}
    wanted = set(form.get("scope", "").split()) or granted
    if not wanted <= granted:
        raise _Refused("invalid_scope", "Bad Request")
    return " ".join(sorted(wanted))


def _claims(assertion: str) -> dict[str, object]:
    try:
        middle = assertion.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (IndexError, ValueError) as error:
        raise _Refused("invalid_grant", "Invalid JWT.") from error
    return claims if isinstance(claims, dict) else {}
