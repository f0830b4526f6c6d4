"""The available layers: those of the files in exporters/modalities, and those of the user's own files.

Those of the folder `optional` in it are there for who names them.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from exporters import modalities as folder
from exporters.modalities import optional
from exporters.sources import Local, source_of
from pipeline.errors import Fatal, GeocorpusError, unknown_name
from pipeline.layout import is_reserved
from pipeline.manifest import Manifest
from pipeline.modality import Modality


def modalities(names: Sequence[str] | None = None, files: Iterable[Path] = ()) -> list[Modality]:
    """The layers called `names`, in that order; for None all that any manifest can have and that are not optional,
    sorted by file.

    A layer is a `Modality` at the top level of a module, with its `source` set. Raises `Fatal` for an unknown name
    (and names the nearest), a name defined or listed twice, and a file that cannot be read.
    """
    return _chosen(_by_name(_modules(files)), names)


def everything(files: Iterable[Path] = ()) -> list[Modality]:
    """All layers that any manifest can have, the optional ones too. Raises `Fatal` as `modalities` does."""
    return [layer for layer in _by_name(_modules(files)).values() if not needs(layer)]


def _chosen(known: Mapping[str, Modality], names: Sequence[str] | None) -> list[Modality]:
    chosen = _usual(known) if names is None else list(names)
    for name in chosen:
        if name not in known:
            raise unknown_name("modality", name, known)
    repeated = next((name for name in chosen if chosen.count(name) > 1), None)
    if repeated:
        raise Fatal(f"modality {repeated!r} is asked for twice; name it once.")
    return [known[name] for name in chosen]


def _usual(known: Mapping[str, Modality]) -> list[str]:
    only_by_name = _by_name(_in_folder(optional))
    return [name for name, layer in known.items() if not needs(layer) and name not in only_by_name]


def of_manifest(manifest: Manifest, names: Sequence[str] | None = None, files: Iterable[Path] = ()) -> list[Modality]:
    """The layers called `names`, or for None all that this manifest can have, completed from it as `bound` does.

    Raises `Fatal` as `modalities` does, and for a layer that needs a column which the manifest lacks.
    """
    known = _by_name(_modules(files))
    chosen = _chosen(known, names)
    if names is None:
        chosen += [layer for layer in known.values() if needs(layer) and needs(layer) in manifest.own_columns]
    for layer in chosen:
        if needs(layer) and needs(layer) not in manifest.own_columns:
            raise Fatal(
                f"modality {layer.name!r} needs the column {needs(layer)!r}, which this manifest lacks; leave it out, "
                "or sample places from a table that gives it."
            )
    return bound(chosen, manifest)


def needs(layer: Modality) -> str:
    """The owner's column that a layer needs; "" for none."""
    return layer.source.needs if isinstance(layer.source, Local) else ""


def _modules(files: Iterable[Path]) -> list[ModuleType]:
    return [*_in_folder(folder), *_in_folder(optional), *(_from_file(Path(path)) for path in files)]


def of_file(path: Path) -> list[Modality]:
    """The layers that one file defines. Raises `Fatal` as `modalities` does."""
    layers = _layers(_from_file(path))
    modalities([], [path])
    return layers


def bound(chosen: Iterable[Modality], manifest: Manifest) -> list[Modality]:
    """The layers completed from the manifest, for `Corpus.create` and `export`. Raises `Fatal` as `source_of`."""
    return [_keeping_source(modality, manifest) for modality in chosen]


def _keeping_source(modality: Modality, manifest: Manifest) -> Modality:
    return replace(source_of(modality).bind(modality, manifest), source=modality.source)


def _by_name(modules: Iterable[ModuleType]) -> dict[str, Modality]:
    known: dict[str, Modality] = {}
    for module in modules:
        for modality in _layers(module):
            if modality.name in known and known[modality.name] is not modality:
                raise Fatal(f"modality {modality.name!r} is defined twice, the second time in {module.__file__}.")
            if is_reserved(modality.name):
                raise Fatal(
                    f"a modality cannot be called {modality.name!r}, as in {module.__file__}: the store has that name "
                    "for a coordinate; give another."
                )
            known[modality.name] = modality
    return known


def _layers(module: ModuleType) -> list[Modality]:
    result = [value for value in vars(module).values() if isinstance(value, Modality)]
    for modality in result:
        source_of(modality)
    return result


def _in_folder(package: ModuleType) -> list[ModuleType]:
    names = sorted(info.name for info in pkgutil.iter_modules(package.__path__) if not info.ispkg)
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]


def _from_file(path: Path) -> ModuleType:
    """The module of a file, executed once per process unless the file changes. Raises `Fatal`."""
    status = path.stat() if path.is_file() else None
    return _execute_file(path, *((status.st_ino, status.st_size, status.st_mtime_ns) if status else ()))


@lru_cache(maxsize=64)
def _execute_file(path: Path, *_version: int) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"user_modalities_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise Fatal(f"the modality file {path} is not a Python file that exists; correct the path.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # While it runs: dataclasses look their module up by its name.
    try:
        spec.loader.exec_module(module)
    except GeocorpusError:
        raise
    except Exception as error:
        raise Fatal(f"the modality file {path} cannot be read: {type(error).__name__}: {error}.") from error
    finally:
        sys.modules.pop(spec.name, None)
    if not _layers(module):
        raise Fatal(f"the modality file {path} defines no Modality at its top level; define one.")
    return module
