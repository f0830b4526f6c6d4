"""What one request may compute, carry and answer, and what a token must be good for; None disables a limit.

`Limits` is about one request, `service.quotas.Quotas` about all requests of a project together, and
`functions.pixels.PixelLimits` about the pixels that a request asks for.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

EARTH_ENGINE_SCOPE = "https://www.googleapis.com/auth/earthengine"
CLOUD_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True)
class Limits:
    """The limits of one request.

    `concurrent_aggregations`: `evaluate.is_aggregation` calls of one expression, mapped ones counted each ("Too many
    concurrent aggregations."; the number is not documented, requests with about 20 are reported as refused:
    Vizzuality/mangrove-atlas#1522).
    `compute_s`: seconds of computing ("Computation timed out."; five minutes for an interactive request:
    guides/processing_environments).
    `elements`: elements accumulated by one collection ("Collection query aborted after accumulating over 5000
    elements."; guides/debugging).
    `result_bytes`: bytes of a computed result before compression ("Response size exceeds limit"; guides/
    processing_environments says tens of megabytes, and pixels of 48 MiB are documented to pass).
    `request_bytes`: bytes of a request's body ("Request payload size exceeds the limit: 10485760 bytes.";
    VeinsOfTheEarth/rabpro#75, gee-community/geemap#1092).
    `scopes`: an access token must carry one of them, and the token endpoint refuses to make one without any (RFC 6749,
    section 5.2: "invalid_scope"; the scopes of the Earth Engine API's discovery document).
    """

    concurrent_aggregations: int | None = None
    compute_s: float | None = None
    elements: int | None = None
    result_bytes: int | None = None
    request_bytes: int | None = None
    scopes: tuple[str, ...] | None = None


KIND = Limits()
EARTH_ENGINE = Limits(
    concurrent_aggregations=20,
    compute_s=300.0,
    elements=5000,
    result_bytes=64 * 1024 * 1024,
    request_bytes=10 * 1024 * 1024,
    scopes=(EARTH_ENGINE_SCOPE, CLOUD_SCOPE),
)
# The limit of the request that this thread evaluates: collections are accumulated deep in its functions.
ELEMENTS: ContextVar[int | None] = ContextVar("elements", default=None)
