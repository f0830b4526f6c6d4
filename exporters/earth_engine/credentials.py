"""Which Earth Engine credentials this machine has: of which kind, where, and what to do when Google refuses them.

No secret is stored or shown.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ee import oauth

TOKEN_VARIABLE = "EARTHENGINE_ACCESS_TOKEN"  # noqa: S105 - the name of a variable
KEY_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
TOKEN, OWN, MACHINE = "access_token", "earthengine", "machine"
_NO_FILE = "it is no file of credentials that Google's sign-in knows"


@dataclass(frozen=True)
class _Kind:
    """What credentials are called, and what to do when Google or Earth Engine refuses them."""

    name: str
    remedy: str


_KINDS = {
    TOKEN: _Kind("an access token", "set a new one, as `gcloud auth print-access-token` prints it: it lasts an hour"),
    OWN: _Kind("a person's, by `earthengine authenticate`", "run `earthengine authenticate --force`"),
    "authorized_user": _Kind(
        "a person's, by `gcloud auth application-default login`",
        "run `gcloud auth application-default login` again, with the scopes "
        "https://www.googleapis.com/auth/earthengine and https://www.googleapis.com/auth/cloud-platform",
    ),
    "service_account": _Kind(
        "a service account's key",
        "see that the key and its account still exist, that this machine's clock is right, and that the account has "
        "the roles Earth Engine Resource Viewer and Service Usage Consumer in the project",
    ),
    "external_account": _Kind(
        "of another identity provider (workload identity federation)", "see that its provider still issues tokens"
    ),
    "impersonated_service_account": _Kind(
        "a service account's, impersonated", "see that you still may create tokens for that account"
    ),
    MACHINE: _Kind(
        "the service account of this machine",
        "give the machine the scope https://www.googleapis.com/auth/cloud-platform, and its account the roles "
        "Earth Engine Resource Viewer and Service Usage Consumer in the project",
    ),
}


@dataclass(frozen=True)
class FoundCredentials:
    """The credentials that will be used, and what is wrong with them (None: nothing that can be seen from here).

    `type` is a key of the kinds above or what the file itself says; `path` is None where there is no file.
    """

    type: str
    path: Path | None
    fault: str | None = None

    @property
    def kind(self) -> str:
        """What they are, in words."""
        return _KINDS[self.type].name if self.type in _KINDS else self.type

    @property
    def where(self) -> str:
        """The file or the variable that has them."""
        if self.path is not None:
            return str(self.path)
        return TOKEN_VARIABLE if self.type == TOKEN else "the machine's metadata"

    @property
    def remedy(self) -> str:
        """What to do when they are refused."""
        return _KINDS[self.type].remedy if self.type in _KINDS else "run `earthengine authenticate`"

    @property
    def is_open(self) -> bool:
        """Whether other users of this machine can read the file."""
        path = self.path
        return bool(path and os.name == "posix" and path.exists() and path.stat().st_mode & 0o077)


def find_credentials() -> FoundCredentials | None:
    """The access token of the environment, else the first file in the client's own order, or None; makes no request.

    On Google's own machines there may be credentials without a file: the machine's service account.
    """
    if os.environ.get(TOKEN_VARIABLE):
        return FoundCredentials(TOKEN, None)
    return next(_files(), None)


def _files() -> Iterator[FoundCredentials]:
    own = Path(oauth.get_credentials_path())
    if own.exists():
        stored = _read(own)
        if stored is None:
            yield FoundCredentials("unreadable", own, "it is not JSON that can be read")
        elif stored.get("refresh_token"):
            yield FoundCredentials(OWN, own)
    named = os.environ.get(KEY_VARIABLE)
    gcloud = Path(os.environ.get("CLOUDSDK_CONFIG") or Path.home() / ".config" / "gcloud")
    default = gcloud / "application_default_credentials.json"
    if named:
        yield _application_default(Path(named))
    elif default.exists():
        yield _application_default(default)


def _application_default(path: Path) -> FoundCredentials:
    if not path.exists():
        return FoundCredentials("absent", path, f"{KEY_VARIABLE} names a file that is not there")
    stored = _read(path)
    if stored is None:
        return FoundCredentials("unreadable", path, "it is not JSON that can be read")
    kind = str(stored.get("type", ""))
    return FoundCredentials(kind, path) if kind in _KINDS else FoundCredentials("unknown", path, _NO_FILE)


def _read(path: Path) -> dict[str, str] | None:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) else None
