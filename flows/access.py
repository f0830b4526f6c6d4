"""What a flow run needs, looked at before Prefect is loaded and started: that takes many times as long as a refusal."""

from __future__ import annotations

import os

from exporters.earth_engine.client import usable_credentials
from flows import stages
from flows.cluster import cluster
from flows.settings import Settings
from pipeline.errors import Fatal

_EXPORTING = ("build", "demo", "demo-sensors", "export")
_ASKING = (*_EXPORTING, "anchor")


def check(name: str, settings: Settings) -> None:
    """Raise `Fatal` for a stage that would end without credentials, a store, its folder or its cluster's libraries.

    Nothing is written but a probe to a bucket; `Transient` when a bucket does not answer.
    """
    if _asks(name, settings) and not (settings.uses_sandbox or settings.uses_files):
        usable_credentials(stages.connection(settings, settings.source.url))
    _refuse_unwritable(settings)
    if name in _EXPORTING:
        cluster.check(settings.cluster)
        store = stages.store_of(settings)
        if store.folder is None:
            store.check()


def _asks(name: str, settings: Settings) -> bool:
    return name in _ASKING or (name == "sample" and stages.needs_engine_to_sample(settings))


def _refuse_unwritable(settings: Settings) -> None:
    folder = settings.folder.absolute()
    known = next(path for path in (folder, *folder.parents) if path.exists())
    if not known.is_dir() or not os.access(known, os.W_OK):
        raise Fatal(f"cannot write {settings.folder}: {known} is not a folder that you may write to; check the path.")
