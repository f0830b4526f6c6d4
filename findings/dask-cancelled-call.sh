#!/usr/bin/env bash
# Dask's distributed, a call of `Client.sync` whose coroutine is cancelled while the caller waits, as happens where both
# sides close at once. Expected: CancelledError, as for a future that is cancelled. Seen: distributed 2026.8.0 raises
# UnboundLocalError, from within its own `distributed.utils.sync`: that keeps the result or the Exception of the call,
# and a CancelledError is neither (it is a BaseException), so that what is returned was never set. Whoever expects a
# cancelled call has to catch a programming error. Without an example: dask/distributed 8514. Python 3.11 or newer.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet distributed==2026.8.0 dask==2026.8.0 tornado==6.6.1

cat >look.py <<'PY'
import asyncio

from distributed import Client


async def cancelled():
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


with Client(processes=False, n_workers=0, dashboard_address=None) as client:
    try:
        client.sync(cancelled)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}")
PY
venv/bin/python look.py | tee seen
grep -qx "UnboundLocalError: cannot access local variable 'result' where it is not associated with a value" seen
# Output seen:
#   UnboundLocalError: cannot access local variable 'result' where it is not associated with a value
