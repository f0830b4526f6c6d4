"""Signing in: this machine's credentials with the scopes that Earth Engine asks for, tried once before any work.

The client's own `ee.data.get_persistent_credentials` gives a service account no scopes, and Google's token endpoint
answers an empty scope with "invalid_scope": googleapis/google-auth-library-python#217, dask/dask-cloudprovider#448.
"""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import google.auth
import google.auth.exceptions as refused
from ee import oauth
from google.auth.credentials import with_scopes_if_required
from google.auth.transport.requests import Request
from google.oauth2.credentials import Credentials

from exporters.earth_engine.connection import LOCAL_HOSTS
from exporters.earth_engine.credentials import KEY_VARIABLE, MACHINE, OWN, TOKEN, TOKEN_VARIABLE, FoundCredentials
from exporters.earth_engine.credentials import find_credentials as find
from pipeline.errors import Fatal, GeocorpusError, Transient

HOW = (
    "run `earthengine authenticate`, or name a service account's key file in GOOGLE_APPLICATION_CREDENTIALS, "
    f"or set {TOKEN_VARIABLE}"
)


@dataclass(frozen=True)
class SignIn:
    """Credentials of google-auth, and where they were found; None where the caller gave them."""

    credentials: Any = field(repr=False, compare=False)
    found: FoundCredentials | None = None

    def refusal(self, text: str) -> Fatal:
        """The error for credentials that Google or Earth Engine refuses with this text."""
        if self.found is None:
            return Fatal(f"{text.rstrip('.')}; {HOW}.")
        return Fatal(f"{text.rstrip('.')}. Used: {self.found.kind} ({self.found.where}); {self.found.remedy}.")

    def failure(self, error: refused.GoogleAuthError) -> GeocorpusError:
        """What an error of google-auth means: `Transient` where Google's sign-in is to be tried again, else `Fatal`."""
        if isinstance(error, refused.TransportError):
            return Transient(f"Google's sign-in cannot be reached ({type(error).__name__}).")
        if error.retryable:
            return Transient(f"Google's sign-in does not answer ({_said(error)}).")
        return self.refusal(f"Google refuses the credentials ({_said(error)})")


def stored(project: str) -> SignIn:
    """The credentials of this machine, refreshed once, which asks Google for a token.

    `project` is the one that requests are counted for, whatever project the file names. Raises `Fatal` when there are
    none or Google refuses them, and `Transient` when its sign-in cannot be reached.
    """
    found = find()
    if found is not None and found.fault:
        raise Fatal(f"{found.where} cannot be used as Earth Engine credentials: {found.fault}; {HOW}.")
    made = SignIn(_loaded(found, project), found or FoundCredentials(MACHINE, None))
    if found is None or found.type != TOKEN:  # a bare token cannot be renewed: the first request tries it
        _try(made)
    return made


def local() -> SignIn | None:
    """The key file that the environment names, if its token endpoint is on this machine; a local service gets no other.

    None otherwise: a sandbox asks for no credentials, and Google's go nowhere but to Google's.
    """
    path = os.environ.get(KEY_VARIABLE, "")
    try:
        with open(path, encoding="utf-8") as file:
            endpoint = str(json.load(file)["token_uri"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    found = find()
    if urlsplit(endpoint).hostname not in LOCAL_HOSTS or found is None or str(found.path) != path:
        return None
    return stored("")


def _loaded(found: FoundCredentials | None, project: str) -> Any:
    if found is not None and found.type == TOKEN:
        return Credentials(os.environ[TOKEN_VARIABLE].strip())
    if found is not None and found.type == OWN:
        credentials = _own(found)
    else:
        credentials = _application_default(found)
    return credentials.with_quota_project(project) if project else credentials


def _own(found: FoundCredentials) -> Any:
    """Of `earthengine authenticate`: the refresh token and the scopes that were granted with it."""
    try:
        return Credentials(None, **oauth.get_credentials_arguments())
    except (OSError, ValueError, TypeError) as error:
        raise Fatal(f"{found.where} is damaged as a file of credentials; {found.remedy}.") from error


def _application_default(found: FoundCredentials | None) -> Any:
    """A key file's, gcloud's or the machine's. A person's stay as they were granted: asking for more is refused."""
    try:
        with warnings.catch_warnings():  # about a project, which the settings name
            warnings.filterwarnings("ignore", ".*(No project ID|quota project).*")
            credentials, _ = google.auth.default()
    except refused.DefaultCredentialsError as error:
        if found is None:
            raise Fatal(f"there are no Earth Engine credentials on this machine; {HOW}.") from None
        raise Fatal(
            f"{found.where} is damaged as {found.kind} ({_said(error)}); get the file anew, or {HOW}."
        ) from None
    except ValueError as error:
        where = found.where if found else "the machine's metadata"
        raise Fatal(f"{where} is damaged as a file of credentials ({_said(error)}); {HOW}.") from None
    return with_scopes_if_required(credentials, oauth.SCOPES)


def _try(made: SignIn) -> None:
    try:
        made.credentials.refresh(Request())
    except refused.GoogleAuthError as error:
        raise made.failure(error) from None


def _said(error: Exception) -> str:
    """What Google says, without the whole answer behind it."""
    if "do not contain the necessary fields" in str(error):  # of google-auth, for a bare token
        return "the token has expired and cannot be renewed"
    return str(error.args[0] if error.args else type(error).__name__).splitlines()[0][:200].rstrip(".")
