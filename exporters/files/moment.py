"""Times as files and their names write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_FINER = re.compile(r"(\.\d{6})\d+")  # nanoseconds, as xarray writes them
# Directives of strptime that a pattern may have, as regular expressions.
DIRECTIVES = {
    "Y": r"\d{4}", "m": r"\d{2}", "d": r"\d{2}", "j": r"\d{3}", "H": r"\d{2}", "M": r"\d{2}", "S": r"\d{2}",
    "b": r"[A-Za-z]{3}", "y": r"\d{2}",
}  # fmt: skip


def moment_of(text: str, form: str = "") -> datetime | None:
    """The time (UTC) that a text says, in ISO 8601 or as `strptime` reads `form`; None for no time."""
    try:
        found = datetime.strptime(text, form) if form else datetime.fromisoformat(_FINER.sub(r"\1", text.strip()))
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError, re.error):  # the last for a directive that stands twice
        return None
