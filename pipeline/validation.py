"""Settings checked by pydantic: strict types, and errors in one sentence that names the setting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, Strict, ValidationError
from pydantic_core import ErrorDetails

from pipeline.errors import Fatal, unknown_name

# As in TOML, text is not converted to a number, nor a number to a truth value.
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]  # 5.0 is a whole number as well.
Count = Annotated[Whole, Field(ge=1)]
CountOrNone = Annotated[Whole, Field(ge=0)]  # 0 means none, or no limit.
Seed = Annotated[Whole, Field(ge=0, lt=2**63)]  # PyTorch takes no more.
Fraction = Annotated[float, Field(ge=0, lt=1)]
Names = Annotated[tuple[Annotated[str, Strict()], ...], Strict(False)]  # A TOML list is accepted.
Betas = Annotated[tuple[Fraction, Fraction], Strict(False)]  # Of Adam.

_KINDS = {
    "int_type": "a whole number", "float_type": "a number", "finite_number": "a finite number", "string_type": "text",
    "bool_type": "true or false", "tuple_type": "a list", "dict_type": "a table", "path_type": "a path",
    "int_parsing": "a whole number", "int_from_float": "a whole number", "float_parsing": "a number",
    "bool_parsing": "true or false", "model_type": "a table",
}  # fmt: skip
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"), "greater_than": ("above", "gt"), "less_than_equal": ("at most", "le"),
    "less_than": ("below", "lt"), "multiple_of": ("a multiple of", "multiple_of"),
}  # fmt: skip


@contextmanager
def one_sentence(section: str, known: Iterable[str]) -> Iterator[None]:
    """Turn pydantic's error about a setting into `Fatal` that names `section`.key; `known` are the section's keys."""
    try:
        yield
    except ValidationError as error:
        raise _sentence(error.errors()[0], section, known) from error


def _sentence(error: ErrorDetails, section: str, known: Iterable[str]) -> Fatal:
    kind, value = error["type"], error["input"]
    key = section + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return unknown_name("setting", key, [f"{section}.{name}" for name in known])
    if kind == "literal_error":
        return unknown_name(
            key, str(value), error["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        )
    if kind in ("missing", "missing_argument"):
        return Fatal(f"{key} is not set; give it as well.")
    return Fatal(f"{key} {wanted(error) or f'is not allowed ({in_a_sentence(error)})'}, not {value!r}.")


def wanted(error: ErrorDetails) -> str | None:
    """What a value must be, in words, where it has another type or is out of bounds; None for another error."""
    kind, value = error["type"], error["input"]
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"must be {words} {error['ctx'][bound]:g}"
    if kind not in _KINDS:
        return None
    how = f', such as ["{value}"]' if kind == "tuple_type" and isinstance(value, str) else ""
    return f"must be {_KINDS[kind]}{how}"


def in_a_sentence(error: ErrorDetails) -> str:
    """Pydantic's own words, to stand behind a colon; names in them keep their letters."""
    said = error["msg"].removeprefix("Value error, ")
    return said[:1].lower() + said[1:]
