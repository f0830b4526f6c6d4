"""The operating system's limits for one process."""

from __future__ import annotations

from importlib.util import find_spec

from flows.doctor.finding import Finding

# One connection per request in flight (40), and one mapped file per modality and shard in the loader (hundreds).
_ENOUGH = 1024


def check_open_files() -> Finding:
    """How many files and connections may be open at once."""
    if find_spec("resource") is None:
        return Finding("ok", "this system has no limit of open files that a process could see")
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Finding("ok", "no limit of open files")
    facts = {"soft": soft, "hard": hard}
    if soft < _ENOUGH:
        return Finding("note", f"only {soft} files may be open at once; `ulimit -n 4096` before long runs.", facts)
    return Finding("ok", f"{soft} files may be open at once", facts)
