"""The address of the explorer's page at which something is open."""

from __future__ import annotations

import json
from urllib.parse import quote


def at_chip(row: int) -> str:
    """The end of the page's address with which a chip is open, as the page itself writes it."""
    return "#" + quote(json.dumps({"chip": row}, separators=(",", ":")))
