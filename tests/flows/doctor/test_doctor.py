"""`geocorpus doctor`: what each check says where things are well and where they are not; never a secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.doctor import disk, versions
from flows.doctor.credentials import check_credentials
from flows.doctor.doctor import CHECKS, as_json, as_text, examine, healthy
from flows.doctor.finding import Finding, shown
from flows.doctor.hidden import check_hidden
from flows.doctor.limits import check_open_files
from tests.flows.jobs import ROOT

SECRET = "1//a-refresh-token-of-nobody"  # noqa: S105


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, and no variable that leads to credentials."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_this_machine_is_healthy() -> None:
    findings = examine()
    assert set(findings) == set(CHECKS)
    assert healthy(findings), as_text(findings)
    assert json.loads(as_json(findings))["ok"] is True


def test_a_check_that_fails_is_a_problem_and_stops_no_other() -> None:
    def broken() -> Finding:
        raise RuntimeError("no such\nthing")

    findings = examine({"broken": broken, "well": lambda: Finding("ok", "well")})
    assert findings["broken"].level == "problem"
    assert "RuntimeError: no such thing" in findings["broken"].said
    assert findings["well"].said == "well" and not healthy(findings)


def test_each_finding_is_one_line() -> None:
    assert len(as_text(examine()).splitlines()) == len(CHECKS)


def test_no_credentials_are_worth_knowing(home: Path) -> None:
    finding = check_credentials()
    assert finding.level == "note" and "earthengine authenticate" in finding.said


def test_credentials_of_a_person(home: Path) -> None:
    path = write(home / ".config/earthengine/credentials", json.dumps({"refresh_token": SECRET}))
    finding = check_credentials()
    assert finding.level == "ok" and "~/.config/earthengine/credentials" in finding.said
    path.chmod(0o644)
    assert check_credentials().level == "note" and "chmod 600" in check_credentials().said


@pytest.mark.parametrize("kind", ["service_account", "authorized_user", "external_account"])
def test_credentials_of_google(home: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    text = json.dumps({"type": kind, "private_key": SECRET, "client_email": "robot@nowhere.example"})
    path = write(home / "key.json", text)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    finding = check_credentials()
    assert finding.level == "ok"
    assert SECRET not in str(finding) and "robot" not in str(finding)


def test_a_key_file_that_is_not_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(home / "gone.json"))
    assert check_credentials().level == "problem"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"type": "pony"}'])
def test_a_key_file_that_is_none(home: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(write(home / "key.json", text)))
    finding = check_credentials()
    assert finding.level == "problem" and "~/key.json" in finding.said


def test_the_file_that_the_client_itself_would_take(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's own file comes before any other, as in `ee.data.get_persistent_credentials`."""
    write(home / ".config/gcloud/application_default_credentials.json", json.dumps({"type": "authorized_user"}))
    assert "gcloud" in check_credentials().said
    write(home / ".config/earthengine/credentials", json.dumps({"refresh_token": SECRET}))
    assert "~/.config/earthengine" in check_credentials().said


def test_a_package_that_is_hidden(tmp_path: Path) -> None:
    write(tmp_path / "training" / "__init__.py", "")
    code = "from flows.doctor.hidden import check_hidden; print(check_hidden().level, check_hidden().said)"
    paths = f"{tmp_path}{os.pathsep}{ROOT}"
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, cwd="/", capture_output=True, text=True
    )
    assert run.stdout.startswith("problem "), run
    assert f"training by {tmp_path / 'training'}" in run.stdout
    assert check_hidden().level == "ok"


def test_a_library_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "_required", lambda: ["numpy>=9999", "no-such-library>=1", "nor-this; extra == 'x'"])
    finding = versions.check_libraries()
    assert finding.level == "problem"
    assert "'numpy>=9999'" in finding.said and "no-such-library>=1 (absent)" in finding.said
    assert "nor-this" not in finding.said


def test_little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_LITTLE_GB", 1e9)
    finding = disk.check_disk()
    assert finding.level == "note" and "make room" in finding.said


def test_room_in_chips_has_one_digit() -> None:
    assert disk._chips(0.0) == "0"
    assert disk._chips(78.6) == "100,000"
    assert disk._chips(0.001) == "2"


def test_a_folder_that_takes_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert disk.check_writable().level == "ok"
    monkeypatch.chdir("/proc")
    assert disk.check_writable().level == "problem" and "corpus.folder" in disk.check_writable().said


def test_few_open_files() -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, soft), hard))
    try:
        finding = check_open_files()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert finding.level == "note" and "ulimit" in finding.said


def test_paths_do_not_name_the_person(home: Path) -> None:
    assert shown(home / "a" / "b") == "~/a/b"
    assert shown(home) == "~"
    assert shown(Path(f"{home}-other")) == f"{home}-other"
