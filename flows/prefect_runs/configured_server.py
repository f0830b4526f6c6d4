"""A Prefect API that a person has configured: refused where it does not answer, or lets in whoever reaches it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL

from pipeline.errors import Fatal
from pipeline.loopback import is_loopback

_REFUSALS = (401, 403)


def refuse_unusable() -> None:
    """Raise `Fatal` for a configured API that does not answer, refuses us, or is open to a network."""
    url = str(PREFECT_API_URL.value())
    _refuse_open_network(url)
    with get_client(sync_client=True) as client:
        problem = client.api_healthcheck()
        if problem is not None:
            raise Fatal(
                f"the configured Prefect API {url} does not answer ({type(problem).__name__}); "
                "start it, or unset PREFECT_API_URL."
            )
        try:
            client.api_version()
        except httpx.HTTPStatusError as error:
            if error.response.status_code in _REFUSALS:
                raise Fatal(
                    f"the Prefect API {url} refuses this process; set PREFECT_API_AUTH_STRING (or PREFECT_API_KEY) to "
                    "what it asks for, or unset PREFECT_API_URL."
                ) from error


def _refuse_open_network(url: str) -> None:
    """Raise `Fatal` for an API on another machine that asks nobody who they are.

    Whoever reaches it has its workers run code as their owners.
    """
    if not is_loopback(urlsplit(url).hostname or "") and lets_anyone_in(url):
        raise Fatal(
            f"the Prefect API {url} asks nobody for a password, and a network lies in between; start that server with "
            "PREFECT_SERVER_API_AUTH_STRING=user:password and set PREFECT_API_AUTH_STRING to the same here, "
            "or unset PREFECT_API_URL."
        )


def lets_anyone_in(url: str) -> bool:
    """Whether an API answers a request without a password; a page to sign in at is no answer of Prefect's."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/admin/version", timeout=15) as response:  # noqa: S310
            return isinstance(json.load(response), str)
    except (OSError, ValueError):
        return False
