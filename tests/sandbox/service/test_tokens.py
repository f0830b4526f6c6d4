"""The token endpoint refuses what Google's refuses, and a token is good for what was granted."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
import requests

from sandbox.limits import CLOUD_SCOPE, EARTH_ENGINE, KIND
from sandbox.service.server import Sandbox
from tests.sandbox import world

ONE = {"expression": {"result": "0", "values": {"0": {"constantValue": 1}}}}


@pytest.fixture(scope="module")
def strict() -> Iterator[Sandbox]:
    with Sandbox(world.catalog(), limits=EARTH_ENGINE) as sandbox:
        yield sandbox


def asked(sandbox: Sandbox, **form: str) -> requests.Response:
    return requests.post(f"{sandbox.url}/token", data=form, timeout=10)


def by_key(sandbox: Sandbox, scope: str) -> requests.Response:
    claims = base64.urlsafe_b64encode(json.dumps({"scope": scope}).encode()).decode().rstrip("=")
    return asked(
        sandbox, grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", assertion=f"head.{claims}.signature"
    )


def renewed(sandbox: Sandbox, granted: str, **form: str) -> requests.Response:
    return asked(sandbox, grant_type="refresh_token", refresh_token=granted, **form)


def computed(sandbox: Sandbox, token: str) -> int:
    url, headers = f"{sandbox.url}/v1/projects/demo/value:compute", {"Authorization": f"Bearer {token}"}
    return requests.post(url, json=ONE, headers=headers, timeout=10).status_code


def test_an_empty_scope_is_invalid(strict: Sandbox) -> None:
    reply = by_key(strict, "")
    assert reply.status_code == 400
    assert reply.json()["error"] == "invalid_scope"


def test_a_kind_service_asks_for_no_scope() -> None:
    with Sandbox(world.catalog(), limits=KIND) as sandbox:
        assert computed(sandbox, by_key(sandbox, "").json()["access_token"]) == 200


def test_a_token_with_a_scope_computes_until_it_expires(strict: Sandbox) -> None:
    token = by_key(strict, CLOUD_SCOPE).json()["access_token"]
    assert computed(strict, token) == 200
    strict.expire_tokens()
    assert computed(strict, token) == 401


def test_a_token_with_another_scope_is_let_in_nowhere(strict: Sandbox) -> None:
    token = renewed(strict, "granted/openid").json()["access_token"]
    assert computed(strict, token) == 403


def test_nobody_gets_more_than_was_granted(strict: Sandbox) -> None:
    granted = "granted/cloud-platform+openid"
    assert renewed(strict, granted, scope=CLOUD_SCOPE).status_code == 200
    more = f"{CLOUD_SCOPE} https://www.googleapis.com/auth/drive"
    assert renewed(strict, granted, scope=more).json()["error"] == "invalid_scope"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "refresh_token", "refresh_token": "gone"}, "invalid_grant"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "none"}, "invalid_grant"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
def test_what_is_no_grant_is_refused(strict: Sandbox, form: dict[str, str], error: str) -> None:
    assert asked(strict, **form).json()["error"] == error


def test_no_token_and_one_from_elsewhere_are_let_in(strict: Sandbox) -> None:
    assert computed(strict, "static") == 200
