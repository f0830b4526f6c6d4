"""A training run's folder as `pretrain` leaves it, of numbers that a test chooses; its log is encoded here by hand."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import google_crc32c
import numpy as np
from PIL import Image

from pipeline.corpus import Corpus

Scalars = Mapping[str, float]


def record(data: bytes) -> bytes:
    """A record of TFRecord."""
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32)


def event(step: int, scalars: Scalars) -> bytes:
    """An event of TensorBoard with scalars of one step."""
    values = b"".join(_part(0x0A, _part(0x0A, tag.encode()) + b"\x15" + struct.pack("<f", value))
                      for tag, value in scalars.items())  # fmt: skip
    return b"\x09" + struct.pack("<d", 1.7e9 + step) + b"\x10" + _varint(step) + _part(0x2A, values)


def _part(key: int, content: bytes) -> bytes:
    return bytes([key]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    result = b""
    while number > 127:
        result, number = result + bytes([number & 127 | 128]), number >> 7
    return result + bytes([number])


def write_log(folder: Path, steps: Iterable[tuple[int, Scalars]], number: int = 0) -> Path:
    """An event file of the run in `folder`."""
    path = folder / "tensorboard" / f"events.out.tfevents.{1_700_000_000 + number}.host.1.0"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(record(event(step, scalars)) for step, scalars in steps))
    return path


def losses_at(step: int) -> Scalars:
    """One that falls to a third, one that stays, and one that rises; and what is no loss."""
    falling, wave = 1.0 - step / 150, 0.01 * (-1) ** step
    return {"loss": falling + 2 + wave, "loss/photo": falling, "loss/<b>cover</b>": 1 + wave,
            "loss/echo": 0.5 + step / 100, "lr": 1e-3, "gradient_norm": 1.0}  # fmt: skip


def make_run(corpus: Corpus, name: str, steps: int = 100, ended: bool = False) -> Path:
    """A run of 100 steps in the corpus, of which `steps` are done, with two pictures and two looks at val chips."""
    folder = corpus.folder / "runs" / name
    (folder / "pictures").mkdir(parents=True)
    about = {"steps": 100, "batch_size": 4, "manifest": corpus.manifest.digest}
    (folder / "run.json").write_text(json.dumps(about))
    write_log(folder, [(step, losses_at(step)) for step in range(1, steps + 1)])
    looks = [{"step": step, "val/loss": 3 - step / 100, "monitor/knn": 0.3 + step / 200} for step in (0, 50)]
    (folder / "validation.json").write_text(json.dumps(looks))
    for step, shade in ((50, 90), (100, 180)):
        picture = np.full((120, 300, 3), shade, np.uint8)
        Image.fromarray(picture).save(folder / "pictures" / f"step-{step:08d}.png")
    drawn = corpus.manifest.column("id")[[3, 5]].tolist()
    (folder / "pictures" / "chips.json").write_text(json.dumps([*drawn, "of another corpus"]))
    if ended:
        (folder / "model_card.md").write_text("# a run")
    return folder
