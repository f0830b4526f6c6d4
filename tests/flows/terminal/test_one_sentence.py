"""What a refused command prints: its sentence, and no warning of a library above it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

DESCRIPTION = """
[source]
kind = "files"

[files]
folder = "tiles"

[layers.light]
files = "*.tif"
"""


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_raster_without_a_place_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "tiles").mkdir()
    (tmp_path / "mine.toml").write_text(DESCRIPTION)
    with rasterio.open(
        tmp_path / "tiles" / "plain.tif", "w", driver="GTiff", width=8, height=8, count=1, dtype="float32"
    ) as file:
        file.write(np.ones((1, 8, 8), np.float32))
    words = [sys.executable, "-m", "flows.terminal.cli", "import", "mine.toml", "mine"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "plain.tif has no CRS; give it one" in done.stderr
    assert "Warning" not in done.stderr and not (tmp_path / "mine").exists()
