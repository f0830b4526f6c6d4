"""A local S3 service with one bucket, which tests can stop and start again; and copies of what it holds.

Google Cloud Storage's XML requests, which are S3's but for their signatures, are answered too.
"""

from __future__ import annotations

import logging
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import pytest
from moto.server import ThreadedMotoServer

from pipeline.store_owner import OWNER_KEY

BUCKET = "lab"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIATESTKEY", "AWS_SECRET_ACCESS_KEY": "a-secret-that-nobody-may-see"}
# So that no key of the person who runs the tests is found.
NOTHING_ELSE = {
    "AWS_CONFIG_FILE": "absent",
    "AWS_SHARED_CREDENTIALS_FILE": "absent",
    "AWS_EC2_METADATA_DISABLED": "true",
    "CLOUDSDK_CONFIG": "absent",
    "NO_GCE_CHECK": "true",
}


class S3:
    """The service on 127.0.0.1. What it holds survives `stop`, as that of a real one survives a cut line."""

    def __init__(self, port: int) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.port, self.url = port, f"http://127.0.0.1:{port}"
        self.start()
        self.client = boto3.client("s3", endpoint_url=self.url)
        self.client.create_bucket(Bucket=BUCKET)

    def start(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Take nobody's keys, as the real service does with unknown ones."""
        self._set_requests_before_authorisation(0)
        try:
            yield
        finally:
            self._set_requests_before_authorisation(10**9)

    def _set_requests_before_authorisation(self, count: int) -> None:
        request = urllib.request.Request(f"{self.url}/moto-api/reset-auth", str(count).encode(), method="POST")
        request.add_header("Content-Type", "text/plain")
        urllib.request.urlopen(request).close()

    def keys(self, prefix: str) -> list[str]:
        """Everything below a prefix, without it."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [result["Key"].removeprefix(prefix).lstrip("/") for page in pages for result in page.get("Contents", [])]

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Everything below a prefix, with what is in it, but for whose it is, which no two corpora share."""
        return {key: self.get(f"{prefix}/{key}".lstrip("/")) for key in self.keys(prefix) if key != OWNER_KEY}

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def unfinished_uploads(self) -> int:
        return len(self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))


@contextmanager
def service() -> Iterator[S3]:
    """Run the service, with the environment that a person would set to use it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.MonkeyPatch.context() as environment:
        endpoint = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
        endpoint["STORAGE_EMULATOR_HOST"] = endpoint["AWS_ENDPOINT_URL"]
        for name, value in (KEYS | endpoint | NOTHING_ELSE).items():
            environment.setenv(name, value)
        environment.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
        s3 = S3(port)
        try:
            yield s3
        finally:
            s3.stop()
