"""The script of the explorer that is committed is the build of its sources."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

VIEWER = Path(__file__).resolve().parents[3] / "flows" / "viewer"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed, so the bundle cannot be built")
def test_the_bundle_is_the_build_of_its_sources(tmp_path: Path) -> None:
    source = tmp_path / "viewer" / "page"
    shutil.copytree(VIEWER / "page", source, ignore=shutil.ignore_patterns("node_modules"))
    done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=source, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"npm cannot install what the build needs: {done.stderr.strip()[-200:]}")
    subprocess.run(["node", "build.mjs", str(tmp_path)], cwd=source, check=True, capture_output=True)
    for name in ("explorer.js", "licences.txt"):
        assert (tmp_path / name).read_bytes() == (VIEWER / "static" / name).read_bytes(), f"run `npm run build`: {name}"


def test_the_lock_names_no_registry() -> None:
    assert "resolved" not in (VIEWER / "page" / "package-lock.json").read_text()
