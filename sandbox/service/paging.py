"""Pages of a long list: a token encodes the position at which the next page begins."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from itertools import islice
from typing import TypeVar

from sandbox.errors import EarthEngineError

Item = TypeVar("Item")


def _token(offset: int) -> str:
    return base64.urlsafe_b64encode(f"page:{offset}".encode()).decode()


def _offset(token: str | None) -> int:
    if not token:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token.encode()).decode().removeprefix("page:"))
    except (ValueError, binascii.Error) as error:
        raise EarthEngineError("Invalid page token.") from error


def page(items: Iterable[Item], size: int, token: str | None) -> tuple[list[Item], str | None]:
    """The items of one page and the token of the next page, None after the last.

    Raises EarthEngineError (400) for an invalid token.
    """
    start = _offset(token)
    result = list(islice(iter(items), start, start + size + 1))
    return result[:size], _token(start + size) if len(result) > size else None
