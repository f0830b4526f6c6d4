"""The options of a method: those that a configuration sets, checked, and the defaults of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.errors import Fatal, unknown_name
from training.config import PretrainConfig
from training.method import Method

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list", dict: "a table"}


def with_options(config: PretrainConfig, method: Method) -> PretrainConfig:
    """`config` with every option of its method. Raises `Fatal` for an unknown option, or a value of another type."""
    options = {name: _checked(name, value, config.method, method.options) for name, value in config.options.items()}
    return replace(config, options={**method.options, **options})


def _checked(name: str, value: Any, method: str, defaults: Mapping[str, Any]) -> Any:
    if not defaults:
        raise Fatal(f"method {method!r} has no options; leave pretrain.options.{name} out.")
    if name not in defaults:
        raise unknown_name(f"option of method {method!r},", name, defaults)
    kind = type(defaults[name])
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise Fatal(f"pretrain.options.{name} must be {_KINDS.get(kind, kind.__name__)}, not {value!r}.")
    return value
