"""The service's error replies: an HTTP status and Earth Engine's own text."""

from __future__ import annotations

_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


class EarthEngineError(Exception):
    """An error that the client sees; `status` is the HTTP status code."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status

    def body(self) -> dict[str, dict[str, object]]:
        """The JSON body of the reply, as Google's APIs write it."""
        name = _STATUS_NAMES.get(self.status, "UNKNOWN")
        return {"error": {"code": self.status, "message": self.message, "status": name}}


def too_many_elements(most: int = 5000) -> EarthEngineError:
    """The error for a collection that holds more elements than may be accumulated."""
    return EarthEngineError(f"Collection query aborted after accumulating over {most} elements.")


def too_deep() -> EarthEngineError:
    """The error for an expression that is nested too deeply."""
    return EarthEngineError("Expression is too deeply nested.")


def not_found(kind: str, asset_id: str) -> EarthEngineError:
    """The error for an unknown asset; `kind` is the loading algorithm's wording, as "Image.load: Image asset"."""
    return EarthEngineError(f"{kind} '{asset_id}' not found (does not exist or caller does not have access).")
