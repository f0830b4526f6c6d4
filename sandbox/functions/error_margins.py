"""Error margins of geometry operations. The sandbox computes exactly; it only stores and returns margins."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.registry import algorithm


@dataclass(frozen=True)
class ErrorMargin:
    """A distance, in metres unless `unit` says otherwise."""

    value: float
    unit: str = "meters"


@algorithm("ErrorMargin")
def error_margin(value: float | None, unit: str | None) -> ErrorMargin:
    return ErrorMargin(value or 0.0, unit or "meters")
