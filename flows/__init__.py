"""Prefect flows, the command line and the configuration: wiring, no logic."""

import os

from flows.offline import OFFLINE, home_of_prefect, without_proxy

# Prefect reads its settings when it is first imported. Nothing leaves the machine unless the user configures it.
for _name, _value in OFFLINE.items():
    os.environ.setdefault(_name, _value)
os.environ["PREFECT_HOME"] = home_of_prefect()
# The sandbox and Prefect's local server are on this machine, where a proxy cannot reach them.
for _name in ("NO_PROXY", "no_proxy"):
    os.environ[_name] = without_proxy(os.environ.get(_name, ""))
