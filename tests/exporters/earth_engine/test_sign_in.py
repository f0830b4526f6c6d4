"""Signing in with real credentials of google-auth, whose token endpoint is the sandbox's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ee
import google.oauth2.credentials
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.exceptions import RefreshError

from exporters.earth_engine import sign_in
from exporters.earth_engine.client import Connection, EarthEngine, connect
from exporters.earth_engine.credentials import KEY_VARIABLE, TOKEN_VARIABLE
from pipeline.errors import Fatal, Transient
from sandbox.limits import EARTH_ENGINE
from sandbox.service.server import Sandbox
from tests.exporters import tiny_earth
from tests.exporters.conftest import IMPATIENT

OWN, GCLOUD = ".config/earthengine/credentials", ".config/gcloud/application_default_credentials.json"
PERSON = {"client_id": "client", "client_secret": "secret"}
WHOLE = "granted/" + "+".join(scope.rsplit("/", 1)[1] for scope in ee.oauth.SCOPES)
Write = Callable[[str, dict[str, Any]], Path]


@pytest.fixture(scope="module")
def strict() -> Iterator[Sandbox]:
    with Sandbox(tiny_earth.TinyEarth([]), limits=EARTH_ENGINE) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def key() -> str:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return private.private_bytes(serialization.Encoding.PEM, form, none).decode()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strict: Sandbox) -> Path:
    """An empty home folder, and the sandbox's token endpoint where libraries have the address of Google's built in."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / ".config/gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    for name in (KEY_VARIABLE, TOKEN_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ee.oauth, "TOKEN_URI", strict.token_url)
    monkeypatch.setattr(google.oauth2.credentials, "_GOOGLE_OAUTH2_TOKEN_ENDPOINT", strict.token_url)
    return tmp_path


@pytest.fixture
def write(home: Path) -> Write:
    def written(name: str, content: dict[str, Any]) -> Path:
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        return path

    return written


@pytest.fixture
def service_account(strict: Sandbox, key: str, write: Write, monkeypatch: pytest.MonkeyPatch) -> Path:
    content = {"type": "service_account", "client_email": "robot@nowhere.example", "private_key": key}
    path = write("key.json", {**content, "token_uri": strict.token_url})
    monkeypatch.setenv(KEY_VARIABLE, str(path))
    return path


def connected(sandbox: Sandbox, made: sign_in.SignIn | None = None) -> EarthEngine:
    """Connected with these credentials, or with those that the connection finds itself."""
    return connect(Connection("my-project", url=sandbox.url, credentials=made, patience=IMPATIENT))


def test_a_service_account_computes_where_the_clients_own_way_is_refused(
    strict: Sandbox, service_account: Path
) -> None:
    with pytest.raises(ee.EEException, match="earthengine authenticate"):
        ee.data.get_persistent_credentials()
    engine = connected(strict)
    assert engine.sign_in.credentials.service_account_email == "robot@nowhere.example"
    assert engine.value(ee.Number(7)) == 7


def test_a_key_of_googles_goes_to_no_local_address(strict: Sandbox, service_account: Path) -> None:
    content = json.loads(service_account.read_text())
    service_account.write_text(json.dumps({**content, "token_uri": "https://oauth2.googleapis.com/token"}))
    assert connected(strict).sign_in.credentials is None


def test_what_earthengine_authenticate_stores(strict: Sandbox, write: Write) -> None:
    write(OWN, {"refresh_token": WHOLE, **PERSON})
    assert connected(strict, sign_in.stored("my-project")).value(ee.Number(7)) == 7


def test_what_gcloud_stores_keeps_the_scopes_that_it_was_granted(strict: Sandbox, write: Write) -> None:
    write(GCLOUD, {"type": "authorized_user", "refresh_token": "granted/cloud-platform+openid", **PERSON})
    assert connected(strict, sign_in.stored("my-project")).value(ee.Number(7)) == 7


def test_an_access_token_of_the_environment_comes_before_any_file(
    strict: Sandbox, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(OWN, {"refresh_token": WHOLE, **PERSON})
    monkeypatch.setenv(TOKEN_VARIABLE, sign_in.stored("").credentials.token)
    made = sign_in.stored("my-project")
    assert made.found is not None and made.found.where == TOKEN_VARIABLE
    assert connected(strict, made).value(ee.Number(7)) == 7


def test_a_token_that_expires_in_the_middle_is_renewed(strict: Sandbox, service_account: Path) -> None:
    engine = connected(strict)
    strict.expire_tokens()
    assert engine.value(ee.Number(7)) == 7


def test_requests_are_counted_for_the_project_of_the_settings(write: Write) -> None:
    write(OWN, {"refresh_token": WHOLE, "project": "another", **PERSON})
    assert sign_in.stored("my-project").credentials.quota_project_id == "my-project"


def test_an_expired_access_token_names_its_variable(strict: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "sandbox.of-yesterday")
    with pytest.raises(Fatal, match=f"has expired.*{TOKEN_VARIABLE}.*gcloud auth print-access-token") as error:
        connected(strict, sign_in.stored("my-project"))
    assert "yesterday" not in str(error.value) and "\n" not in str(error.value)


def test_a_revoked_token_names_its_file_and_what_to_run(write: Write) -> None:
    path = write(OWN, {"refresh_token": "gone", **PERSON})
    with pytest.raises(Fatal, match="expired or revoked.*earthengine authenticate --force") as error:
        sign_in.stored("my-project")
    assert str(path) in str(error.value)


def test_a_token_without_the_scope_says_which_it_lacks(strict: Sandbox, write: Write) -> None:
    write(GCLOUD, {"type": "authorized_user", "refresh_token": "granted/openid", **PERSON})
    with pytest.raises(Fatal, match="insufficient authentication scopes.*gcloud auth.*auth/earthengine"):
        connected(strict, sign_in.stored("my-project"))


def test_a_damaged_key_file_is_named(service_account: Path) -> None:
    content = json.loads(service_account.read_text())
    service_account.write_text(json.dumps({**content, "private_key": "no key"}))
    with pytest.raises(Fatal, match=r"key\.json is damaged as a service account's key.*get the file anew") as error:
        sign_in.stored("my-project")
    assert "no key" not in str(error.value)


def test_a_sign_in_that_cannot_be_reached_is_tried_again_later(service_account: Path) -> None:
    content = json.loads(service_account.read_text())
    service_account.write_text(json.dumps({**content, "token_uri": "http://127.0.0.1:9/token"}))
    with pytest.raises(Transient, match="sign-in"):
        sign_in.stored("my-project")


def test_a_sign_in_that_fails_in_the_middle_for_a_while_does_not_stop_the_run(strict: Sandbox) -> None:
    engine, failures = connected(strict), [RefreshError("internal_failure", retryable=True)]

    def ask() -> str:
        if failures:
            raise failures.pop()
        return "answer"

    assert engine.call(ask) == "answer" and engine.figures().retries == 1


def test_a_grant_that_is_withdrawn_in_the_middle_stops_the_run(strict: Sandbox) -> None:
    def ask() -> str:
        raise RefreshError("invalid_grant: Token has been expired or revoked.")

    with pytest.raises(Fatal, match="Google refuses the credentials.*expired or revoked"):
        connected(strict).call(ask)
