"""A program that serves a folder over HTTP with ranges on a free port of 127.0.0.1, until its input is closed.

It is a process of its own: GDAL holds Python's lock while it waits for an answer.
"""

from __future__ import annotations

import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Ranges(BaseHTTPRequestHandler):
    """Answers HEAD and GET of files of the folder; everything that was asked is a line of the output."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = Path(sys.argv[1], self.path.lstrip("/"))
        content = path.read_bytes() if path.is_file() else b""
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = content[int(first) : int(last or len(content)) + 1]
        self.send_response(206 if "Range" in self.headers else 200 if content else 404)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if with_body:
            self.wfile.write(part)

    def log_message(self, format: str, *arguments: object) -> None:
        print(self.command, self.path, flush=True)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)
