"""An export into a bucket, killed, cut off and damaged, holds the same objects as one into a folder."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.buckets import BUCKET, KEYS, S3, service
from tests.flows.jobs import geocorpus, run_stages, sandbox, start

LATENCY_S = 0.1
STORED = "corpus.zarr"

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bucket"), pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Job:
    """A frozen manifest, the settings of its export, and the objects that an export into a folder makes."""

    anchored: Path
    overrides: tuple[str, ...]
    s3: S3
    objects: dict[str, bytes]

    def begin(self, folder: Path) -> list[str]:
        """The anchored corpus in a folder of its own, and the settings that store it in the bucket."""
        shutil.copytree(self.anchored, folder)
        return [*self.overrides, f"corpus.folder={folder}", f"corpus.store={self.url(folder)}"]

    def url(self, folder: Path) -> str:
        return f"s3://{BUCKET}/{folder.parent.name}/{STORED}"

    def pixels(self, folder: Path) -> list[str]:
        """Keys of the objects that hold pixels."""
        return [key for key in self.s3.keys(f"{folder.parent.name}/{STORED}") if key.startswith("sentinel2/c/")]

    def stored(self, folder: Path) -> dict[str, bytes]:
        return self.s3.objects(f"{folder.parent.name}/{STORED}")


def settings(url: str) -> tuple[str, ...]:
    return (
        f"source.url={url}", "source.concurrency=4", "corpus.size_px=32", "corpus.shard_rows=8",
        "sampling.locations=20", "corpus.modalities=['sentinel2', 'esa_worldcover', 'era5', 'biome']",
    )  # fmt: skip


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    whole, anchored = tmp_path_factory.mktemp("whole") / "corpus", tmp_path_factory.mktemp("anchored") / "corpus"
    with sandbox("--latency", str(LATENCY_S)) as url, service() as s3:
        overrides = settings(url)
        run_stages([*overrides, f"corpus.folder={whole}"], ("sample", "anchor"))
        shutil.copytree(whole, anchored)
        run_stages([*overrides, f"corpus.folder={whole}"], ("export", "finalize"))
        files = [path for path in (whole / STORED).rglob("*") if path.is_file()]
        yield Job(anchored, overrides, s3, {str(p.relative_to(whole / STORED)): p.read_bytes() for p in files})


def test_export_verify_and_report(job: Job, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    run_stages(job.begin(folder), ("export", "finalize"))
    assert job.stored(folder) == job.objects
    assert not (folder / STORED).exists()
    for command in ("verify", "report", "status"):
        assert geocorpus(command, str(folder)).returncode == 0, command
    assert "in the bucket" in (folder / "report.html").read_text()
    saved = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert not any(secret.encode() in saved for secret in KEYS.values())
    damage(job, folder, "sentinel2/c/1/0/0/0")
    outcome = geocorpus("verify", str(folder))
    assert outcome.returncode == 2 and "sentinel2 shard 1" in outcome.stderr


def damage(job: Job, folder: Path, key: str) -> None:
    content = bytearray(job.objects[key])
    content[len(content) // 2] ^= 1
    job.s3.put(f"{folder.parent.name}/{STORED}/{key}", bytes(content))


def test_killed_in_the_middle(job: Job, tmp_path: Path) -> None:
    """Killed as soon as an object of pixels is there, its ledger entry or not."""
    folder = tmp_path / "corpus"
    overrides = job.begin(folder)
    process = start("export", "demo", *overrides)
    while not (job.pixels(folder) or process.poll() is not None):
        time.sleep(0.02)
    process.kill()
    _, errors = process.communicate()
    assert process.returncode == -9, errors
    assert set(job.stored(folder)) < set(job.objects) and job.s3.unfinished_uploads() == 0
    run_stages(overrides, ("export", "finalize"))
    assert job.stored(folder) == job.objects


def test_cut_off_in_the_middle(job: Job, tmp_path: Path) -> None:
    """The bucket's service is away for some seconds, and the same command goes on by itself."""
    folder = tmp_path / "corpus"
    process = start("export", "demo", *job.begin(folder))
    while not list((folder / "spool").rglob("[0-9]*.chip")) and process.poll() is None:
        time.sleep(0.02)
    job.s3.stop()
    back = threading.Timer(3.0, job.s3.start)
    back.start()
    _, errors = process.communicate(timeout=120)
    back.join()
    assert process.returncode == 0, errors
    run_stages([*job.overrides, f"corpus.folder={folder}"], ("finalize",))
    assert job.stored(folder) == job.objects


def test_a_bucket_that_cannot_be_used_stops_everything_at_the_door(job: Job, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    overrides = [*job.begin(folder)[:-1], "corpus.store=s3://no-such-bucket/c"]
    for command in (["export", "demo", *overrides], ["export", "demo", *overrides, "--dry-run"]):
        outcome = geocorpus(*command)
        assert outcome.returncode == 2 and "does not exist" in outcome.stderr and "Traceback" not in outcome.stderr
    assert not (folder / "spool").exists() and not (folder / "store.json").exists()
