"""Python is started in one way, which leaves the working folder off the path."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from pipeline.interpreter import module_command, safe_environment
from tests.rivals import PACKAGES, rivals

ROOT = Path(__file__).resolve().parents[2]
GRANDCHILD = "import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', 'import sampling']).returncode)"


def test_a_module_is_the_installed_one(tmp_path: Path) -> None:
    command = module_command("sandbox", "--help")
    done = subprocess.run(command, cwd=rivals(tmp_path), capture_output=True, text=True)
    assert done.returncode == 0 and "A local Earth Engine" in done.stdout, done.stderr


def test_what_a_child_starts_is_safe_as_well(tmp_path: Path) -> None:
    rivals(tmp_path, "sampling")
    plain = [sys.executable, "-c", GRANDCHILD]
    assert subprocess.run(plain, cwd=tmp_path, env=safe_environment(), capture_output=True).returncode == 0
    assert safe_environment(EXTRA="1")["EXTRA"] == "1"


def test_no_other_file_says_how_python_is_started() -> None:
    users = [
        path.relative_to(ROOT).as_posix()
        for package in ("geocorpus", *PACKAGES)
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"\[\s*sys\.executable|python=sys\.executable", path.read_text())
    ]
    assert users == ["pipeline/interpreter.py"]
