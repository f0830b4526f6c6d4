"""Who may ask the explorer: its own page, under the name of this machine, and nobody else; and only by reading."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NAMES = ("127.0.0.1", "localhost")
# The page holds everything that it needs; regl makes its functions from text, and the index of points runs in a worker.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
}  # fmt: skip


class OwnPageOnly:
    """ASGI middleware: refuses other methods than GET and HEAD, other hosts, and requests that another page makes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = _refusal(Request(scope))
        app = PlainTextResponse(refused, 403) if refused else self._app
        await app(scope, receive, _with_headers(send))


def _refusal(request: Request) -> str:
    """Why a request is not served; empty where it is."""
    if request.method not in ("GET", "HEAD"):
        return "the explorer only reads."
    if (urlsplit(f"//{request.headers.get('host', '')}").hostname or "") not in _NAMES:
        return "the explorer answers under the name of this machine only."
    origin = request.headers.get("origin")
    foreign = origin is not None and origin != f"http://{request.headers['host']}"
    if foreign or request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return "the explorer answers its own page only."
    return ""


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *((name.lower().encode(), value.encode())
                                                                 for name, value in _HEADERS.items())]  # fmt: skip
        await send(message)

    return sending
