"""The Earth Engine client as it is, pointed at a local Earth Engine: without our limiter, retries and credentials."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import ee
import google.oauth2.credentials


@contextmanager
def initialised(url: str, project: str) -> Iterator[None]:
    """Have the client speak to `url` within the block; afterwards it is not initialised."""
    credentials = google.oauth2.credentials.Credentials(token="local")  # noqa: S106
    with without_deprecation_list():
        ee.Initialize(credentials, url=url, project=project)
    ee.data.setMaxRetries(0)
    try:
        yield
    finally:
        ee.Reset()


@contextmanager
def without_deprecation_list() -> Iterator[None]:
    """Keep the client from fetching its list of deprecated assets, which is always off this machine."""
    fetch = ee.deprecation._FetchDataCatalogStac
    ee.deprecation._FetchDataCatalogStac = dict
    try:
        yield
    finally:
        ee.deprecation._FetchDataCatalogStac = fetch
