"""The list of checks of `geocorpus doctor`, and how their findings are shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from flows.doctor.credentials import check_credentials
from flows.doctor.device import check_torch
from flows.doctor.disk import check_disk, check_writable
from flows.doctor.finding import Finding
from flows.doctor.geodata import check_gdal, check_proj
from flows.doctor.hidden import check_hidden
from flows.doctor.limits import check_open_files
from flows.doctor.versions import check_geocorpus, check_libraries, check_machine

# A check is a function without arguments that returns one finding; add yours here. None may need the network.
CHECKS: Mapping[str, Callable[[], Finding]] = {
    "geocorpus": check_geocorpus,
    "machine": check_machine,
    "libraries": check_libraries,
    "packages": check_hidden,
    "credentials": check_credentials,
    "gdal": check_gdal,
    "proj": check_proj,
    "torch": check_torch,
    "folder": check_writable,
    "disk": check_disk,
    "open files": check_open_files,
}


def examine(checks: Mapping[str, Callable[[], Finding]] = CHECKS) -> dict[str, Finding]:
    """The finding of every check by its name. A check that raises becomes a problem, and does not stop the others."""
    return {name: _finding(check) for name, check in checks.items()}


def _finding(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:
        text = " ".join(str(error).split())
        return Finding("problem", f"could not be looked at ({type(error).__name__}: {text}); please report it.")


def healthy(findings: Mapping[str, Finding]) -> bool:
    """Whether no check found a problem."""
    return all(finding.level != "problem" for finding in findings.values())


def as_text(findings: Mapping[str, Finding]) -> str:
    """One line per check, to be read and pasted into an issue."""
    width = max(map(len, findings))
    return "\n".join(f"{finding.level:<8} {name:<{width}}  {finding.said}" for name, finding in findings.items())


def as_json(findings: Mapping[str, Finding]) -> str:
    """One JSON object: `ok`, and for each check its level, sentence and facts."""
    checks = {name: {"level": f.level, "said": f.said, "facts": dict(f.facts)} for name, f in findings.items()}
    return json.dumps({"ok": healthy(findings), "checks": checks})
