"""Prefect's settings for working alone: no telemetry, quiet logs, patience at start-up; and whether it is set up."""

from __future__ import annotations

import os
import tempfile
import tomllib
from pathlib import Path

START_TIMEOUT_S = 180
OFFLINE = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": str(START_TIMEOUT_S),
}


def home_of_prefect() -> str:
    """Prefect's folder: the usual one where it can be written, else one that lasts as long as the machine runs."""
    usual = Path(os.environ.get("PREFECT_HOME", Path.home() / ".prefect"))
    known = usual if usual.exists() else usual.parent
    return str(usual) if os.access(known, os.W_OK) else str(Path(tempfile.gettempdir()) / "geocorpus-prefect")


def set_up_prefect() -> None:
    """Set Prefect's settings in the environment: nothing leaves the machine unless a person says so.

    It has to be called before Prefect is imported, which is when those are read.
    """
    for name, value in OFFLINE.items():
        os.environ.setdefault(name, value)
    os.environ["PREFECT_HOME"] = home_of_prefect()
    bypass_proxy()


def bypass_proxy() -> None:
    """Have no proxy asked for this machine, by this process or its children: it could not reach their servers."""
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = without_proxy(os.environ.get(name, ""))


def without_proxy(hosts: str) -> str:
    """`hosts` that no proxy is asked for: those that the environment names already, and this machine."""
    return ",".join(dict.fromkeys([*filter(None, hosts.split(",")), "127.0.0.1", "localhost"]))


def api_configured() -> bool:
    """Whether a person pointed Prefect at an API, by environment or active profile; costs no import of Prefect."""
    return bool(os.environ.get("PREFECT_API_URL")) or "PREFECT_API_URL" in _active_profile()


def _active_profile() -> dict[str, str]:
    try:
        profiles = tomllib.loads((Path(home_of_prefect()) / "profiles.toml").read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError):
        return {}
    active = os.environ.get("PREFECT_PROFILE", profiles.get("active", ""))
    return dict(profiles.get("profiles", {}).get(active, {}))
