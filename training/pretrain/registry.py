"""Finds the method of a run: a file in training/methods by its name, or a user's own by its path."""

from __future__ import annotations

import importlib
import importlib.util
import json
import pkgutil
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from pipeline.errors import Fatal, unknown_name
from training import methods as folder
from training.config import PretrainConfig
from training.method import Method


def method_of(config: PretrainConfig) -> Method:
    """The method that `config` names. Raises `Fatal` for an unknown name, and for a file that cannot be used."""
    if config.method_file:
        return _of_file(Path(config.method_file))
    if config.method in _modules():
        found = _methods(_built_in(config.method))
        if found:
            return found[0]
    raise unknown_name("pretrain.method", config.method, known_methods())


def known_methods() -> list[str]:
    """The names of the methods in training/methods."""
    return [name for name in _modules() if _methods(_built_in(name))]


def _modules() -> list[str]:
    return sorted(info.name for info in pkgutil.iter_modules(folder.__path__))


def _built_in(name: str) -> ModuleType:
    return importlib.import_module(f"{folder.__name__}.{name}")


def _methods(module: ModuleType) -> list[Method]:
    return [value for value in vars(module).values() if isinstance(value, Method)]


def _of_file(path: Path) -> Method:
    if path.stem in known_methods():
        raise Fatal(f"the method file {path} has the name of a built-in method; give the file another name.")
    status = path.stat() if path.is_file() else None
    found = _methods(_executed(path, *((status.st_ino, status.st_size, status.st_mtime_ns) if status else ())))
    if len(found) != 1:
        count = f"{len(found)} Methods" if found else "no Method"
        raise Fatal(f"the method file {path} defines {count} at its top level; define one.")
    _refuse_options(path, found[0].options)
    return found[0]


def _refuse_options(path: Path, options: object) -> None:
    """Raise `Fatal` for defaults that `run.json` could not keep."""
    if not isinstance(options, Mapping):
        raise Fatal(f"the options of the method file {path} are {options!r}; give a dict of names and their defaults.")
    for name, value in options.items():
        try:
            json.dumps({name: value}, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise Fatal(
                f"the option {name!r} of the method file {path} has a default that JSON has no value for ({value!r}); "
                "give a number, text, true or false, a list or a table."
            ) from error


@lru_cache(maxsize=16)
def _executed(path: Path, *_version: int) -> ModuleType:
    """The module of a file, executed once per process unless the file changes."""
    spec = importlib.util.spec_from_file_location(f"user_methods_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise Fatal(f"the method file {path} is not a Python file that exists; correct pretrain.method_file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Dataclasses look their module up by its name.
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise Fatal(
            f"the method file {path} cannot be imported: {type(error).__name__}: {_line(error)}; mend it."
        ) from error
    return module


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).removesuffix(".")
