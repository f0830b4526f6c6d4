"""Errors named by what the caller must do. Every message is one sentence for a person."""

from __future__ import annotations

import difflib
import os
import traceback
from collections.abc import Iterable


class GeocorpusError(Exception):
    """Base of all errors that geocorpus raises on purpose."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows of it (IPython asks for this): the sentence; with GEOCORPUS_TRACEBACK=1 also where."""
        if os.environ.get("GEOCORPUS_TRACEBACK"):
            return "".join(traceback.format_exception(self)).splitlines()
        return [f"{type(self).__name__}: {self}"]


class Fatal(GeocorpusError):
    """Stop: the user must correct something first (input, credentials, disk). Exit code 2."""


class Unwritable(Fatal):
    """Nothing can be kept any more (disk full, corpus taken over by another process): ask for nothing more either."""


class NotInstalled(Fatal, ImportError):
    """A package of an extra is not installed; the message names the extra. Any `except ImportError` catches it."""


class Transient(GeocorpusError):
    """Try the same again later; `retry_after_s` is the wait that the server asked for, or None."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Throttled(Transient):
    """The server refuses the request rate (429): slow all requests down, then try again. It counts as no attempt."""


class TooLarge(GeocorpusError):
    """Ask for less at once: split the bands and remember the split."""


class Missing(GeocorpusError):
    """The data does not exist: record the reason and go on."""


def unknown_name(what: str, name: object, known: Iterable[str]) -> Fatal:
    """An error about the unknown `name` that names the nearest known one, or lists all known ones.

    `name` may be of any type: who gives None for a name gets the same sentence.
    """
    names = sorted(known)
    near = difflib.get_close_matches(f"{name}", names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(names)}."
    return Fatal(f"unknown {what} {name!r}; {hint}")
