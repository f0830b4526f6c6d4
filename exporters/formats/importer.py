"""A way into a corpus: its name, what it recognises, and the function that opens it; found in the files of this folder.

To add one, define an `Importer` at the top level of a file here, or of the `__init__` of a room below. Its `open` looks
at the whole source once, refuses with one sentence what it cannot take, and writes nothing; what is done with the
`Incoming` that it returns (checks, shards, ledger, resuming) is the same for all: `exporters.pull.intake`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from exporters import formats as room
from exporters.formats.format import Options
from pipeline.errors import Fatal, unknown_name
from pipeline.manifest import Manifest
from pipeline.modality import Modality
from pipeline.shard import Shard

Catalogue = Mapping[str, Modality]


@dataclass(frozen=True)
class Block:
    """Values (rows, bands[, y, x]) of some rows of a layer in its dtype; `missing` says why manifest rows have none.

    Rows without any data need not be named: the intake finds them.
    """

    values: NDArray[Any]
    missing: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Incoming:
    """What a source holds: its chips in their final order, its layers, and how to read some rows of one layer.

    Equal sources give equal manifests, layers and blocks, at any time and however rows are cut: a stopped import goes
    on by that. `read` gets a shard, or some neighbouring rows of one; it is called by several threads, and raises
    `Fatal` for damage. `unknown` are sentences about what the source cannot say of its chips.
    """

    manifest: Manifest
    layers: tuple[Modality, ...]
    read: Callable[[Modality, Shard], Block]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Importer:
    """`open(source, options, catalogue)` returns what is there; it raises `Fatal` for what it cannot take.

    `recognises` says, without reading much and without raising, whether a path looks like this format. `catalogue` has
    the layers that geocorpus knows, by name: a layer that means the same should be one of them.
    """

    name: str
    title: str
    recognises: Callable[[Path], bool]
    open: Callable[[Path, Options, Catalogue], Incoming]
    options: Mapping[str, str] = field(default_factory=dict)


@cache
def importers() -> dict[str, Importer]:
    """All ways in by name, sorted: what the files of this folder define at their top level."""
    modules = [importlib.import_module(f"{room.__name__}.{info.name}") for info in pkgutil.iter_modules(room.__path__)]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, Importer)]
    return {item.name: item for item in sorted(found, key=lambda item: item.name)}


def importer_of(source: Path, name: str | None, options: Options) -> Importer:
    """The way in called `name`, or for None the one that recognises `source`.

    Raises `Fatal` for a source that is not there or that none recognises, and for an unknown name or option.
    """
    if not source.exists():
        raise Fatal(f"{source} does not exist; check the path.")
    chosen = _recognised(source) if name is None else _named(name)
    for option in options:
        if option not in chosen.options:
            raise unknown_name(f"option of {chosen.name}", option, chosen.options)
    return chosen


def _named(name: str) -> Importer:
    if name not in importers():
        raise unknown_name("format", name, importers())
    return importers()[name]


def _recognised(source: Path) -> Importer:
    known = importers()
    found = next((item for item in known.values() if item.recognises(source)), None)
    if found is None:
        raise Fatal(
            f"{source} is none of the formats that are recognised ({', '.join(known) or 'none'}); rasters come in by a "
            "TOML file that describes them (docs/files.md), and --from names a format."
        )
    return found
