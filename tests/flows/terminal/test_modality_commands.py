"""From an empty file to pictures of a layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.flows.jobs import ROOT, geocorpus


def test_a_new_file_is_written_once_and_is_a_layer(tmp_path: Path) -> None:
    from exporters import catalog

    assert geocorpus("modality", "new", "greenness", "--folder", str(tmp_path)).returncode == 0
    (layer,) = catalog.of_file(tmp_path / "greenness.py")
    assert layer.name == "greenness"
    again = geocorpus("modality", "new", "greenness", "--folder", str(tmp_path))
    assert again.returncode == 2 and "exists already" in again.stderr


@pytest.mark.parametrize("name", ["two words", "Large", "1st"])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    outcome = geocorpus("modality", "new", name, "--folder", str(tmp_path))
    assert outcome.returncode == 2 and "small letters" in outcome.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_a_layer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("x = 1\n")
    outcome = geocorpus("modality", "check", str(tmp_path / "empty.py"))
    assert outcome.returncode == 2 and "defines no Modality" in outcome.stderr


@pytest.mark.slow
def test_the_new_file_and_an_example_are_tried_and_drawn(tmp_path: Path) -> None:
    assert geocorpus("modality", "new", "greenness", "--folder", str(tmp_path)).returncode == 0
    for file in (tmp_path / "greenness.py", ROOT / "examples" / "modalities" / "copernicus_dem.py"):
        drawn = tmp_path / f"{file.stem}.png"
        outcome = geocorpus("modality", "check", str(file), "--out", str(drawn), "--chips", "3", "corpus.size_px=32")
        assert outcome.returncode == 0, outcome.stderr
        assert "a graph of" in outcome.stdout and "nodata" in outcome.stdout and "add it" not in outcome.stdout
        with Image.open(drawn) as picture:
            pixels = np.asarray(picture)
        assert pixels.shape[0] > 3 * 64 and pixels.std() > 5
    assert {path.suffix for path in tmp_path.iterdir()} <= {".py", ".png"}
