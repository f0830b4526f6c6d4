"""Every command killed at random: `benchmarks.kills`, with a few kills."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.kills import torment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_whichever_command_is_killed_the_bytes_are_the_same(tmp_path: Path) -> None:
    outcome = torment(kills=6, seed=3, folder=tmp_path)
    assert outcome.differing == []
    assert outcome.kills.total() >= 4, "a command may come through before its death"
