"""Serves the explorer on 127.0.0.1 until it is interrupted."""

from __future__ import annotations

import socket
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from exporters.report.report import REPORT
from flows.viewer.address import at_chip
from flows.viewer.answers import Answers
from flows.viewer.guard import OwnPageOnly
from flows.viewer.likeness import CLUSTERS, Likeness
from flows.viewer.report_page import report_page
from flows.viewer.search import row_of
from pipeline.corpus import Corpus
from pipeline.errors import Fatal, GeocorpusError

_HOST = "127.0.0.1"
PAGE = {
    "index.html": "text/html; charset=utf-8", "explorer.js": "text/javascript; charset=utf-8",
    "explorer.css": "text/css; charset=utf-8", "licences.txt": "text/plain; charset=utf-8",
}  # fmt: skip


@dataclass(frozen=True)
class Beside:
    """What is shown beside a corpus: a store of its `embeddings`, sorted into `clusters`, and folders of `runs`."""

    embeddings: Path | None = None
    clusters: int = CLUSTERS
    runs: tuple[Path, ...] = ()


ALONE = Beside()


def application(corpus: Corpus, beside: Beside = ALONE) -> Starlette:
    """The explorer of a corpus as an ASGI application.

    Raises `Fatal` for embeddings and runs of something else.
    """
    likeness = Likeness.open(beside.embeddings, corpus, beside.clusters) if beside.embeddings else None
    answers = Answers(corpus, likeness, beside.runs)

    def data(request: Request) -> Response:
        try:
            answer = answers.of(request.path_params["path"], request.query_params.get("text", ""))
        except GeocorpusError as error:
            return JSONResponse({"error": f"{error}"}, 404)
        return Response(answer.body, media_type=answer.media_type)

    def report(_: Request) -> Response:
        try:
            page = report_page(corpus, range(len(corpus.manifest)))
        except GeocorpusError as error:
            return JSONResponse({"error": f"{error}"}, 404)
        return Response(page, media_type=PAGE["index.html"])

    routes = [Route("/data/{path:path}", data), Route(f"/{REPORT}", report), Route("/{name:path}", _page)]
    return Starlette(routes=routes, middleware=[Middleware(OwnPageOnly)])


def _page(request: Request) -> Response:
    name = request.path_params["name"] or "index.html"
    if name not in PAGE:
        return JSONResponse({"error": f"the explorer has no page {name!r}."}, 404)
    return Response(page_file(name), media_type=PAGE[name])


def page_file(name: str) -> bytes:
    """A file of the page, of `PAGE`."""
    return (files("flows.viewer") / "static" / name).read_bytes()


def bound(port: int) -> socket.socket:
    """A socket on `port` of this machine alone, 0 for a free one. Raises `Fatal` where another program has it."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((_HOST, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise Fatal(f"port {port} cannot be had ({error}); choose another --port, or 0 for a free one.") from error
    return listening


def serve(
    folder: Path, port: int, show: bool, said: Callable[[str], None], beside: Beside = ALONE, chip: str = ""
) -> None:
    """Serve the corpus in `folder` until interrupted; with `show` the browser of this machine opens the page.

    `said` is told the address, at which the `chip` of that id (or row) is open. Raises `Fatal` for no corpus, for
    a chip that it has not, for embeddings and runs of something else, and for a port that is taken.
    """
    corpus = Corpus.open(folder)
    opened = at_chip(row_of(corpus, chip)) if chip else ""
    page = application(corpus, beside)
    listening = bound(port)
    address = f"http://{_HOST}:{listening.getsockname()[1]}/{opened}"
    said(f"{address}  (only on this machine; Ctrl+C ends it)")
    if show:
        webbrowser.open(address)
    config = uvicorn.Config(page, log_level="error", access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listening])
