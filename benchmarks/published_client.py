"""Runs the published MMEarth-data code, from a checkout of it, on some tiles: one process of benchmarks.published.

    python -m benchmarks.published_client CHECKOUT URL TILES.json OUTPUT

Nothing of its code is here: its class `ee_set` is imported and called as its main script does. Three things are set
from outside, without which it does not run: its start-up module (which names its authors' own project), the global
name that `sentinel1()` uses before anybody defines it, and the client's list of deprecated assets (off this machine).
The last line is a JSON object: tiles, complete, seconds.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import types
import warnings
from pathlib import Path
from typing import Any

import ee
import yaml

_DATASETS = ["sentinel2", "sentinel1", "aster", "era5", "dynamic_world", "canopy_height_eth", "esa_worldcover"]


def imported(checkout: Path, url: str) -> Any:
    """Its module, in its own folder, connected to the sandbox."""
    ee.deprecation._FetchDataCatalogStac = dict
    ee.Initialize(None, url=url, project="published")
    sys.modules["config.ee_init"] = types.ModuleType("config.ee_init")
    os.chdir(checkout)
    sys.path.insert(0, str(checkout))
    ee_data: Any = importlib.import_module("ee_utils.ee_data")
    ee_data.data_name = "sentinel1"
    return ee_data


def configuration(checkout: Path, output: Path) -> Any:
    """Its own configuration with every dataset, and the folder to write to."""
    data = yaml.safe_load((checkout / "config" / "config_data.yaml").read_text())
    data |= {"datasets": _DATASETS, "export_folder": str(output)}
    return _attributes(data)


def _attributes(plain: Any) -> Any:
    if isinstance(plain, dict):
        return types.SimpleNamespace(**{str(key): _attributes(value) for key, value in plain.items()})
    return plain


def tile_of(place: int, corners: list[list[float]], module: Any) -> dict[str, Any]:
    """A tile as its scripts make them; which biome it is in changes no request."""
    biome, region = next(iter(module.BIOME_LABELS)), next(iter(module.ECOREGION_LABELS))
    return {
        "properties": {"tile_id": str(place), "biome": biome, "eco_region": region},
        "geometry": {"coordinates": [corners]},
    }


def main() -> None:
    """Download the tiles one after the other."""
    checkout, url, tiles, output = Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3], Path(sys.argv[4]).resolve()
    warnings.filterwarnings("ignore")
    outlines = json.loads(Path(tiles).read_text())
    module = imported(checkout, url)
    cfg = configuration(checkout, output)
    print("ready", flush=True)
    sys.stdin.readline()
    began_s = time.monotonic()
    for place, corners in outlines.items():
        module.ee_set(tile_of(place, corners, module), cfg)
    complete = len(list(output.rglob("*.tif")))
    print(json.dumps({"tiles": len(outlines), "complete": complete, "seconds": time.monotonic() - began_s}))


if __name__ == "__main__":
    main()
