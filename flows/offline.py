"""Prefect's settings for work offline: no telemetry, few logs, a long start-up limit; and whether an API is set."""

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
    """Prefect's folder: the usual one if it can be written to, else one in the system's temporary folder."""
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
    """The hosts to reach without a proxy, as a comma-separated list: `hosts`, and this machine."""
    return ",".join(dict.fromkeys([*filter(None, hosts.split(",")), "127.0.0.1", "localhost"]))


def api_configured() -> bool:
    """Whether the environment or the active profile names a Prefect API; does not import Prefect."""
    return bool(os.environ.get("PREFECT_API_URL")) or "PREFECT_API_URL" in _active_profile()


def configured(*prefixes: str) -> bool:
    """Whether the environment or the active profile has a setting of Prefect's that begins so."""
    return any(name.startswith(prefixes) for name in (*os.environ, *_active_profile()))


def _active_profile() -> dict[str, str]:
    try:
        profiles = tomllib.loads((Path(home_of_prefect()) / "profiles.toml").read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError):
        return {}
    active = os.environ.get("PREFECT_PROFILE", profiles.get("active", ""))
    return dict(profiles.get("profiles", {}).get(active, {}))
