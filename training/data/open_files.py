"""How many shards of a layer may be open at a time: a share of the files that the system lets a process open."""

from __future__ import annotations

import sys

_FEWEST, _MOST = 32, 512
_SHARE = 64  # A corpus has some twelve layers of pixels, and a process may read several data sets of it.


def shards_at_once() -> int:
    """A 64th of the limit on open files (`ulimit -n`), from 32 to 512; 32 where a system has no such limit."""
    if sys.platform == "win32":
        return _FEWEST
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _MOST if limit == resource.RLIM_INFINITY else limit // _SHARE
    return min(_MOST, max(_FEWEST, allowed))
