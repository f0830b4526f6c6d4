"""A request of a known kind goes out with the bytes that its session would send."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import requests

from exporters.earth_engine.prepared import Preparation

HEADERS = {"accept": "*/*", "Content-Type": "application/json", "authorization": "Bearer {0}", "content-length": "{1}"}


@pytest.fixture
def heard() -> Iterator[tuple[str, list]]:
    """A server's address, and what it has received: request line, headers in order, and body."""
    received: list = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            received.append((self.requestline, self.headers.items(), body))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()
        thread.join()


def session_of(trust_env: bool = False) -> requests.Session:
    session = requests.Session()
    session.trust_env = trust_env
    return session


def both(session: requests.Session, url: str, heard: list, bodies=("{}", '{"a": 1}', "", '{"b": "ä"}')) -> list:
    """What was heard from ours, after it was the same as from the session."""
    preparation = Preparation(session)
    for number, body in enumerate(bodies):
        length = str(len(body.encode()))
        headers = {name: value.format(number, length) for name, value in HEADERS.items()}
        assert preparation.sent("POST", url, body, headers, timeout=5).text == "ok"
        session.request("POST", url, data=body, headers=headers, timeout=5)
    assert heard[::2] == heard[1::2] and len(heard) == 2 * len(bodies)
    return heard[::2]


def test_every_request_of_a_kind_has_the_bytes_of_the_sessions_own(heard):
    url, received = heard
    answers = both(session_of(), f"{url}/a b?x=1&y=ä", received)
    assert [body for _, _, body in answers] == [b"{}", b'{"a": 1}', b"", '{"b": "ä"}'.encode()]
    assert [dict(headers)["authorization"] for _, headers, _ in answers] == [f"Bearer {n}" for n in range(4)]


def test_a_known_kind_is_not_prepared_again(heard, monkeypatch):
    url, _ = heard
    session, prepared = session_of(), []
    prepare = session.prepare_request
    monkeypatch.setattr(session, "prepare_request", lambda request: prepared.append(request.method) or prepare(request))
    preparation = Preparation(session)
    for method, body in (("POST", "1"), ("POST", "2"), ("GET", None), ("GET", None), ("POST", "3")):
        preparation.sent(method, url, body, {"a": "b"}, timeout=5).close()
    assert prepared == ["POST", "GET", "GET"]  # what has no text is left to the session


def test_cookies_and_passwords_are_the_sessions_business(heard, monkeypatch, tmp_path):
    url, received = heard
    session = session_of()
    session.cookies.set("key", "value", domain="127.0.0.1")
    assert all(dict(headers)["Cookie"] == "key=value" for _, headers, _ in both(session, url, received))
    received.clear()
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    answers = both(session_of(trust_env=True), url, received)
    assert all(dict(headers)["Authorization"].startswith("Basic ") for _, headers, _ in answers)


def test_a_proxy_that_the_environment_names_is_asked(heard, monkeypatch):
    url, received = heard
    monkeypatch.setenv("http_proxy", url)
    answers = both(session_of(trust_env=True), "http://earth.invalid/v1", received)
    assert {line for line, _, _ in answers} == {"POST http://earth.invalid/v1 HTTP/1.1"}


def test_what_a_session_refuses_is_refused_later_too(heard):
    url, _ = heard
    preparation = Preparation(session_of())
    preparation.sent("POST", url, "{}", {"a": "b"}, timeout=5).close()
    with pytest.raises(requests.exceptions.InvalidHeader):
        preparation.sent("POST", url, "{}", {"a": "b\r\nc: d"}, timeout=5)
