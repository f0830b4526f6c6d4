"""Refusals of what is over a limit of one request, in the service's own words."""

from __future__ import annotations

from sandbox.errors import EarthEngineError
from sandbox.limits import Limits


def refuse_large_request(limits: Limits, size: int) -> None:
    """Raise EarthEngineError (400) when a request's body of `size` bytes is too large."""
    if limits.request_bytes is not None and size > limits.request_bytes:
        raise EarthEngineError(f"Request payload size exceeds the limit: {limits.request_bytes} bytes.")


def refuse_large_result(limits: Limits, size: int) -> None:
    """Raise EarthEngineError (400) when a reply's body of `size` bytes, not compressed, is too large."""
    if limits.result_bytes is not None and size > limits.result_bytes:
        raise EarthEngineError("Response size exceeds limit.")


def refuse_long_computation(limits: Limits, seconds: float) -> None:
    """Raise EarthEngineError (400) when a computation took so many seconds of processor time; known at its end only."""
    if limits.compute_s is not None and seconds > limits.compute_s:
        raise EarthEngineError("Computation timed out.")
