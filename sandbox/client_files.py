"""The two documents that a client loads first, read from the data files of the installed earthengine-api package.

The package is not imported: its test data hold the discovery document and the list of algorithms.
"""

from __future__ import annotations

import copy
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def _data_file(name: str) -> Path:
    spec = find_spec("ee")
    if spec is None or spec.submodule_search_locations is None:
        raise RuntimeError("The sandbox needs earthengine-api for its data files; pip install earthengine-api.")
    path = Path(next(iter(spec.submodule_search_locations))) / "tests" / name
    if not path.is_file():
        raise RuntimeError(f"earthengine-api has no {name}; install a release that has its tests (1.7 does).")
    return path


@cache
def algorithms() -> dict[str, Any]:
    """The reply of `projects.algorithms.list`: every algorithm with its arguments and types.

    Raises RuntimeError when earthengine-api or its data file is not installed.
    """
    document: dict[str, Any] = json.loads(_data_file("algorithms.json").read_text(encoding="utf-8"))
    return document


@cache
def signatures() -> dict[str, dict[str, Any]]:
    """Each algorithm's description by its name, without the "algorithms/" prefix. Raises as `algorithms` does."""
    return {entry["name"].removeprefix("algorithms/"): entry for entry in algorithms()["algorithms"]}


@cache
def _discovery_v1() -> dict[str, Any]:
    text = _data_file("cloud_api_discovery_document.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text.replace("v1alpha", "v1"))
    _allow_list_filters(document)
    _add_tables(document)
    _allow_workload_tags(document)
    return document


def _add_tables(document: dict[str, Any]) -> None:
    # The bundled document lacks downloads of tables, and calls the asset of a list of features otherwise: the client
    # would end in an error of its own before the sandbox can say that it has neither.
    resources = document["resources"]["projects"]["resources"]
    create = resources["thumbnails"]["methods"]["create"]
    path = create["path"].replace("thumbnails", "tables")
    resources.setdefault("tables", {"methods": {"create": {**create, "id": "earthengine.projects.tables.create",
                                                           "path": path, "flatPath": path}}})  # fmt: skip
    features = resources["assets"]["methods"]["listFeatures"]
    for key in ("parameterOrder", "parameters", "path"):
        features[key] = json.loads(json.dumps(features[key]).replace("parent", "asset"))


def _allow_workload_tags(document: dict[str, Any]) -> None:
    # The bundled document also lacks the workload tag that the client sends to create a thumbnail, table or map.
    for resource in document["resources"]["projects"]["resources"].values():
        if "create" in resource.get("methods", {}):
            parameters = resource["methods"]["create"]["parameters"]
            parameters.setdefault("workloadTag", {"location": "query", "type": "string"})


def _allow_list_filters(document: dict[str, Any]) -> None:
    # The bundled document is older than the client: it lacks two parameters that ee.data.listImages sends.
    methods = document["resources"]["projects"]
    for resource in (methods, methods["resources"]["assets"]):
        parameters = resource["methods"]["listAssets"]["parameters"]
        for name in ("filter", "view"):
            parameters.setdefault(name, {"location": "query", "type": "string"})


def discovery(root_url: str) -> dict[str, Any]:
    """The discovery document with every host replaced by this server's `root_url` (ending in a slash).

    Raises RuntimeError when earthengine-api or its data file is not installed.
    """
    document = copy.copy(_discovery_v1())
    document.update(rootUrl=root_url, baseUrl=root_url, servicePath="")
    document.pop("mtlsRootUrl", None)
    return document
