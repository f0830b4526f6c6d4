"""A disk that fills up while a command writes: one sentence, nothing half-written, and the same command goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.jobs import counters, differences, geocorpus, reset, run_stages, sandbox, snapshot

pytestmark = pytest.mark.slow
CHIPS, CONCURRENCY = 40, 4
ROOM = {"sample": 4096, "anchor": 4096, "export": 350 << 10, "finalize": 4096}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB; only root may make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path, room: int) -> Path:
    """Fill the disk but for about so many bytes."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            stream.truncate(stream.tell() - room)
    return filler


def test_every_stage_stops_and_goes_on(small_disk: Path, tmp_path: Path) -> None:
    folder, whole = small_disk / "c", tmp_path / "whole" / "c"
    with sandbox("--latency", "0.1") as url:
        settings = [f"source.url={url}", f"source.concurrency={CONCURRENCY}", "corpus.size_px=32", "anchor.batch=10",
                    "corpus.shard_rows=20", f"sampling.locations={CHIPS}",
                    "corpus.modalities=['sentinel2', 'esa_worldcover']"]  # fmt: skip
        run_stages([*settings, f"corpus.folder={whole}"])
        for stage, room in ROOM.items():
            filler = fill(small_disk, room)
            reset(url)
            outcome = geocorpus(stage, "demo", *settings, f"corpus.folder={folder}")
            assert outcome.returncode == 2, (stage, outcome)
            said = [line for line in outcome.stderr.splitlines() if line.startswith("geocorpus: ")]
            assert len(said) == 1 and "No space left on device" in said[0], outcome.stderr
            if stage == "export":
                asked = counters(url)["requests"]["image:computePixels"]
                kept = len(list((folder / "spool").rglob("[0-9]*.chip")))
                assert 0 < kept < asked <= kept + 3 * CONCURRENCY < CHIPS
            filler.unlink()
            run_stages([*settings, f"corpus.folder={folder}"], (stage,))
    assert differences(snapshot(folder), snapshot(whole)) == []
