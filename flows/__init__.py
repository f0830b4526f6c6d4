"""Prefect flows, the command line and the configuration: wiring, no logic."""

import os

from flows.offline import OFFLINE

# Prefect reads its settings when it is first imported; nothing leaves the machine unless a person says so.
for _name, _value in OFFLINE.items():
    os.environ.setdefault(_name, _value)
