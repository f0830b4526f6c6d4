"""A corpus that one may only read is trained on from a small copy, as the sentence about it says."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.extras import NO_TORCH

pytest.importorskip("torch", reason=NO_TORCH)

import geocorpus
from flows import stages
from flows.settings import Settings, load
from pipeline.errors import Fatal
from pipeline.progress import Silent
from tests.training.corpora import make_corpus

OPTIONS = (
    'inputs=["light"]', "encoder=zepto", "image_px=24", "patch_px=8", "decoder_width=16", "batch_size=4", "steps=1",
    "threads=1", "pictures_every=0", "run=first",
)  # fmt: skip


def settings(folder: Path) -> Settings:
    return load(str(folder), [f"pretrain.{option}" for option in OPTIONS])


def test_training_goes_on_in_the_copy_that_is_told(tmp_path: Path) -> None:
    folder, copy = tmp_path / "shared", tmp_path / "own"
    make_corpus(folder)
    (folder / "runs").touch()  # whoever may write everything cannot write below a file
    with pytest.raises(Fatal) as caught:
        stages.pretrain(settings(folder), Silent())
    with pytest.raises(Fatal, match="training writes to .*, which you may not write to; copy"):
        geocorpus.pretrain(folder, steps=1)
    told = re.search(r"copy (\S+) without its (\S+) to one of yours, write (\{.*\}) to (\S+) there", str(caught.value))
    assert told is not None and told[1] == str(folder)
    (folder / "runs").unlink()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(told[2]))
    (copy / told[4]).write_text(json.dumps(json.loads(told[3])))
    stages.pretrain(settings(copy), Silent())
    assert (copy / "runs" / "first" / "encoder.safetensors").is_file()
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
