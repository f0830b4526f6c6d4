"""Whether there are credentials for Earth Engine, and of which kind; they are neither shown nor tried."""

from __future__ import annotations

from flows.doctor.finding import Finding, shown

_AUTHENTICATE = "run `earthengine authenticate`, or name a key file in GOOGLE_APPLICATION_CREDENTIALS"


def check_credentials() -> Finding:
    """What the client will find in files. That Earth Engine accepts it, `geocorpus export --dry-run` tells."""
    from exporters.earth_engine.credentials import find_credentials

    found = find_credentials()
    if found is None:
        return Finding(
            "note", f"none found; the demo needs none, for the real Earth Engine {_AUTHENTICATE}.", {"kind": None}
        )
    where = shown(found.path)
    if found.fault:
        return Finding("problem", f"{where} cannot be used, {found.fault}; {_AUTHENTICATE}.", {"kind": found.kind})
    if found.is_open:
        said = f"{found.kind}, in {where}, which other users of this machine can read: chmod 600 it."
        return Finding("note", said, {"kind": found.kind})
    return Finding("ok", f"{found.kind}, in {where} (found, not tried)", {"kind": found.kind})
