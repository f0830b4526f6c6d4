"""Algorithms on text."""

from __future__ import annotations

import json
import re
from typing import Any

from sandbox.errors import EarthEngineError
from sandbox.registry import algorithm


def _pattern(regex: str, flags: str | None) -> re.Pattern[str]:
    try:
        return re.compile(regex, re.IGNORECASE if "i" in (flags or "") else 0)
    except re.error as error:
        raise EarthEngineError(f"Invalid regular expression '{regex}': {error}.") from error


@algorithm("String")
def string(value: Any) -> str:
    if isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


@algorithm("String.cat")
def cat(first: str, second: str) -> str:
    return first + second


@algorithm("String.length")
def length(text: str) -> int:
    return len(text)


@algorithm("String.slice")
def cut(text: str, start: int, end: int | None) -> str:
    return text[start:end]


@algorithm("String.split")
def split(text: str, regex: str, flags: str | None) -> list[str]:
    return list(text) if regex == "" else _pattern(regex, flags).split(text)


@algorithm("String.match")
def match(text: str, regex: str, flags: str | None) -> list[str | None]:
    result = _pattern(regex, flags).search(text)
    return [] if result is None else [result.group(0), *result.groups()]


@algorithm("String.replace")
def replace(text: str, regex: str, replacement: str, flags: str | None) -> str:
    target = re.sub(r"\$(\d)", r"\\\1", replacement)
    return _pattern(regex, flags).sub(target, text, count=0 if "g" in (flags or "") else 1)


@algorithm("String.index")
def index(text: str, pattern: str) -> int:
    return text.find(pattern)


@algorithm("String.rindex")
def rindex(text: str, pattern: str) -> int:
    return text.rfind(pattern)


@algorithm("String.toLowerCase")
def lower(text: str) -> str:
    return text.lower()


@algorithm("String.toUpperCase")
def upper(text: str) -> str:
    return text.upper()


@algorithm("String.trim")
def trim(text: str) -> str:
    return text.strip()


@algorithm("String.equals")
def equals(text: str, other: Any) -> bool:
    return bool(text == other)


@algorithm("String.compareTo")
def compare(first: str, second: str) -> int:
    return (first > second) - (first < second)


@algorithm("String.encodeJSON")
def encode_json(value: Any) -> str:
    return json.dumps(value)


@algorithm("String.decodeJSON")
def decode_json(text: str) -> Any:
    return json.loads(text)
