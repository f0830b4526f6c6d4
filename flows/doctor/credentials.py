"""Whether credentials for Earth Engine exist, and of which kind; they are neither shown nor tried."""

from __future__ import annotations

from flows.doctor.finding import Finding, shown


def check_credentials() -> Finding:
    """The credentials that the client will find. `geocorpus export --dry-run` checks that Earth Engine accepts them."""
    from exporters.earth_engine.credentials import find_credentials
    from exporters.earth_engine.sign_in import HOW

    stored = find_credentials()
    if stored is None:
        return Finding("note", f"none found; the demo needs none, for the real Earth Engine {HOW}.", {"kind": None})
    where = shown(stored.path) if stored.path else stored.where
    if stored.fault:
        return Finding("problem", f"{where} cannot be used, {stored.fault}; {HOW}.", {"kind": stored.kind})
    if stored.is_open:
        said = f"{stored.kind}, in {where}, which other users of this machine can read: chmod 600 it."
        return Finding("note", said, {"kind": stored.kind})
    return Finding("ok", f"{stored.kind}, in {where} (found, not tried)", {"kind": stored.kind})
