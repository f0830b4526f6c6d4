"""Dask's answer for a call that was cancelled, as it is when both sides close at once, is no failure of the work."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import pytest
from distributed.utils import LoopRunner, sync

from flows.cluster.cluster import closed_at_the_end


async def _cancelled() -> NoReturn:
    raise asyncio.CancelledError


class _Closing:
    """Something of Dask whose closing is cancelled."""

    def __init__(self, runner: LoopRunner) -> None:
        self._runner = runner

    def close(self) -> None:
        sync(self._runner.loop, _cancelled)


def test_a_closing_that_is_cancelled_ends_quietly_and_hides_no_error() -> None:
    runner = LoopRunner()
    runner.start()
    try:
        with closed_at_the_end(_Closing(runner)):
            pass
        with pytest.raises(KeyError, match="of the work"), closed_at_the_end(_Closing(runner)):
            raise KeyError("of the work")
    finally:
        runner.stop()
