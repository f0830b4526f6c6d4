"""Which Earth Engine credentials the client will use on this machine, by their files; no secret is stored or shown."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ee import oauth

_KINDS = {
    "authorized_user": "a person's, by `gcloud auth application-default login`",
    "service_account": "a service account's key",
    "external_account": "of another identity provider (workload identity federation)",
    "impersonated_service_account": "a service account's, impersonated",
}


@dataclass(frozen=True)
class FoundCredentials:
    """The file that the client will use, the kind of its credentials, and what is wrong with it (None: nothing)."""

    path: Path
    kind: str
    fault: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether other users of this machine can read the file."""
        return bool(os.name == "posix" and self.path.exists() and self.path.stat().st_mode & 0o077)


def find_credentials() -> FoundCredentials | None:
    """The first file in the client's own order, or None; makes no request.

    On Google's own machines there may be credentials without a file: the machine's service account.
    """
    return next(_files(), None)


def _files() -> Iterator[FoundCredentials]:
    own = Path(oauth.get_credentials_path())
    if own.exists():
        stored = _read(own)
        if stored is None:
            yield FoundCredentials(own, "unreadable", "it is not JSON that can be read")
        elif stored.get("refresh_token"):
            yield FoundCredentials(own, "a person's, by `earthengine authenticate`")
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    gcloud = Path(os.environ.get("CLOUDSDK_CONFIG") or Path.home() / ".config" / "gcloud")
    default = gcloud / "application_default_credentials.json"
    if named:
        yield _application_default(Path(named))
    elif default.exists():
        yield _application_default(default)


def _application_default(path: Path) -> FoundCredentials:
    if not path.exists():
        return FoundCredentials(path, "absent", "GOOGLE_APPLICATION_CREDENTIALS names a file that is not there")
    stored = _read(path)
    if stored is None:
        return FoundCredentials(path, "unreadable", "it is not JSON that can be read")
    kind = str(stored.get("type", ""))
    fault = None if kind in _KINDS else "it is no file of credentials that Google's sign-in knows"
    return FoundCredentials(path, _KINDS.get(kind, "unknown"), fault)


def _read(path: Path) -> dict[str, str] | None:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) else None
