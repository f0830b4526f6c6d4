"""What was fetched is kept up to a size; the oldest goes first; what is not whole is no longer there."""

from __future__ import annotations

import errno
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.durable import TEMPORARY_SUFFIX
from training.data.chip_cache import ChipCache

OURS = "geocorpus-chips"
PART = memoryview(bytes(range(250)) * 4)


def kept(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_is_put_is_there_for_every_process(tmp_path: Path) -> None:
    cache = ChipCache(tmp_path / "new" / "cache", 10_000)
    assert cache.get("a/b") is None
    cache.put("a/b", PART)
    other = ChipCache(tmp_path / "new" / "cache", 10_000)
    assert cache.get("a/b") == other.get("a/b") == PART
    assert kept(tmp_path) == [f"new/cache/{OURS}/a/b"]


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = ChipCache(tmp_path, 5_500)
    for number in range(5):
        cache.put(f"{number}", PART)
        os.utime(tmp_path / OURS / f"{number}", (number, number))
    assert cache.get("0") == PART  # Now the one that was used last.
    (tmp_path / OURS / "others").write_bytes(PART)  # of another process, just now
    cache.put("new", PART)
    assert kept(tmp_path / OURS) == ["0", "3", "4", "new", "others"]


def test_what_else_is_in_the_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    for name in ("corpus", "theirs/old", ".hidden.tmp"):
        (tmp_path / name).write_bytes(bytes(9_000))
        os.utime(tmp_path / name, (1, 1))
    cache = ChipCache(tmp_path, 2_500)
    for number in range(5):
        cache.put(f"{number}", PART)
    assert {"corpus", "theirs/old", ".hidden.tmp"} < set(kept(tmp_path))
    assert cache.get("4") == PART and cache.get("0") is None


def test_files_of_somebody_else_are_read_and_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ChipCache(tmp_path, 2_500)
    cache.put("0", PART)

    def forbidden(path: Path, *_arguments: object, **_named: object) -> None:
        if path.suffix != TEMPORARY_SUFFIX:
            raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "utime", forbidden)
    monkeypatch.setattr(Path, "unlink", forbidden)
    assert cache.get("0") == PART
    for number in range(1, 5):
        cache.put(f"{number}", PART)
    (tmp_path / OURS / "0").write_bytes(b"damaged")
    assert cache.get("0") is None and cache.get("4") == PART


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"", lambda content: bytes(1004)])
def test_what_is_not_whole_is_dropped(tmp_path: Path, damage) -> None:
    cache = ChipCache(tmp_path, 10_000)
    cache.put("a", PART)
    path = tmp_path / OURS / "a"
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get("a") is None and kept(tmp_path) == []


def test_a_disk_that_takes_nothing_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    cache = ChipCache(tmp_path / "cache", 10_000)
    with caplog.at_level(logging.WARNING):
        cache.put("a", PART)
        cache.put("b", PART)
    assert cache.get("a") is None and caplog.text.count("takes no more") == 1


def test_many_put_and_get_and_drop_at_once(tmp_path: Path) -> None:
    caches = [ChipCache(tmp_path, 20_000) for _ in range(2)]

    def use(number: int) -> bool:
        cache, key = caches[number % 2], f"{number % 7}/{number % 31}"
        cache.put(key, PART)
        return cache.get(key) in (PART, None)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(400)))
    caches[0].put("last", PART)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 22_000
    assert not [name for name in kept(tmp_path) if name.endswith(".tmp")]
