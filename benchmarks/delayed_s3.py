"""An S3 service over a folder that waits before each answer, as one that is far away does; for benchmarks of reading.

    with delayed_s3(folder, delay_s=0.03) as url: ...

The folder below it that is called `lab` is its bucket. It only reads, looks at no key, and sends files without copying
them, so that it takes little of the cores that it shares with who reads. It runs in a process of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, unquote, urlsplit

BUCKET = "lab"
_NOBODY = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nobody", "AWS_DEFAULT_REGION": "us-east-1"}
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True
    folder: Path
    delay_s: float


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *values: Any) -> None:
        """Nothing."""

    def do_HEAD(self) -> None:
        self._object(body=False)

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query:
            self._list(query.get("prefix", [""])[0], query.get("delimiter", [""])[0])
        else:
            self._object(body=True)

    def _list(self, prefix: str, delimiter: str) -> None:
        time.sleep(self.server.delay_s)
        content = listed(self.server.folder / BUCKET, prefix, delimiter).encode()
        self._head(200, len(content))
        self.wfile.write(content)

    def _object(self, *, body: bool) -> None:
        time.sleep(self.server.delay_s)
        path = self.server.folder / unquote(urlsplit(self.path).path).lstrip("/")
        if not path.is_file():
            self._head(404, 0)
            return
        described = path.stat()
        start, stop = _span(self.headers.get("Range"), described.st_size)
        of = f"bytes {start}-{stop - 1}/{described.st_size}"
        self._head(206 if "Range" in self.headers else 200, stop - start, described.st_mtime, of)
        if body:
            self.wfile.flush()
            with path.open("rb") as stream:
                self.connection.sendfile(stream, start, stop - start)

    def _head(self, status: int, length: int, changed_s: float = 0.0, content_range: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("Last-Modified", formatdate(changed_s, usegmt=True))
        self.send_header("ETag", f'"{changed_s}"')
        if status == 206:
            self.send_header("Content-Range", content_range)
        self.end_headers()


def _span(asked: str | None, size: int) -> tuple[int, int]:
    """[start, stop) of a range header, which may ask for the last bytes."""
    match = _RANGE.fullmatch(asked or "")
    if not match:
        return 0, size
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(int(last) + 1, size) if last else size


def listed(folder: Path, prefix: str, delimiter: str) -> str:
    """The answer to a listing of the keys below a prefix, all on one page."""
    keys = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    below = [key for key in keys if key.startswith(prefix)]
    rest = {key: key.removeprefix(prefix) for key in below}
    folders = sorted({prefix + name.split("/")[0] + "/" for name in rest.values() if delimiter and "/" in name})
    files = [key for key in below if not (delimiter and "/" in rest[key])]
    content = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>x</ETag>"
        f"<Size>{(folder / key).stat().st_size}</Size></Contents>"
        for key in files
    )
    content += "".join(f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>" for name in folders)
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{content}</ListBucketResult>"


@contextmanager
def delayed_s3(folder: Path, delay_s: float) -> Iterator[str]:
    """Its address; in this process and those that it starts, the environment names it and keys that it takes."""
    command = [sys.executable, "-m", "benchmarks.delayed_s3", str(folder), str(delay_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        url = process.stdout.readline().strip()
        with mock.patch.dict(os.environ, _NOBODY | {"AWS_ENDPOINT_URL": url}):
            yield url
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Serve a folder until the process is ended; prints the address."""
    server = _Server(("127.0.0.1", 0), _Answer)
    server.folder, server.delay_s = Path(sys.argv[1]), float(sys.argv[2])
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
