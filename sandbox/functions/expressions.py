"""Arithmetic written as text (`Image.expression`): read into calls of the algorithms that it stands for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

from sandbox.errors import EarthEngineError
from sandbox.functions import images
from sandbox.functions.image_bands import select
from sandbox.functions.images import Image
from sandbox.registry import REGISTRY, algorithm

_TOKEN = re.compile(r"""\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|(\w+)|'([^']*)'|"([^"]*)"|(\*\*|&&|\|\||[<>=!]=|.))""")
_LEVELS: list[dict[str, str]] = [
    {"||": "or"},
    {"&&": "and"},
    {"==": "eq", "!=": "neq"},
    {"<": "lt", ">": "gt", "<=": "lte", ">=": "gte"},
    {"+": "add", "-": "subtract"},
    {"*": "multiply", "/": "divide", "%": "mod"},
]
"""Operators of two sides from the loosest to the tightest, by the algorithm of images that each stands for."""

_POWERS = ("**", "^")
Value = Callable[[Mapping[str, Image]], Image]


@dataclass(frozen=True)
class Token:
    kind: str
    text: str


def _tokens(text: str) -> list[Token]:
    found = [match.groups() for match in _TOKEN.finditer(text.strip())]
    kinds = ("number", "name", "string", "string", "sign")
    return [next(Token(k, t) for k, t in zip(kinds, groups, strict=True) if t is not None) for groups in found]


def _calling(name: str, *parts: Value) -> Value:
    return lambda given: REGISTRY[f"Image.{name}"](*[part(given) for part in parts])


def _takes(name: str, count: int) -> bool:
    """Whether an algorithm takes so many images and nothing else."""
    types = [parameter.annotation for parameter in signature(REGISTRY[f"Image.{name}"]).parameters.values()]
    return types == ["Image"] * count  # annotations are kept as text


class Parser:
    """Reads one expression by recursive descent: a method for each kind of term."""

    def __init__(self, text: str, default: str) -> None:
        self._text, self._default = text, default
        self._left = _tokens(text)

    def whole(self) -> Value:
        """The expression, all of it. Raises EarthEngineError (400) where it cannot be read."""
        value = self._choice()
        return value if not self._left else self._fail()

    def _fail(self) -> Any:
        at = self._left[0].text if self._left else "the end"
        raise EarthEngineError(f"Image.parseExpression: Unable to parse '{self._text}' at '{at}'.")

    def _take(self, *signs: str) -> str | None:
        if self._left and self._left[0].kind == "sign" and self._left[0].text in signs:
            return self._left.pop(0).text
        return None

    def _expect(self, sign: str) -> None:
        if self._take(sign) is None:
            self._fail()

    def _choice(self) -> Value:
        test = self._two_sided(0)
        if self._take("?") is None:
            return test
        yes = self._choice()
        self._expect(":")
        # Where the test holds, the first; both are computed, as for Image.where.
        return _calling("where", self._choice(), test, yes)

    def _two_sided(self, level: int) -> Value:
        if level == len(_LEVELS):
            return self._signed()
        left = self._two_sided(level + 1)
        while sign := self._take(*_LEVELS[level]):
            left = _calling(_LEVELS[level][sign], left, self._two_sided(level + 1))
        return left

    def _signed(self) -> Value:
        sign = self._take("-", "+", "!")
        if sign is None:
            return self._power()
        inner = self._signed()
        if sign == "-":
            return _calling("multiply", inner, lambda given: images.constant(-1))
        return _calling("not", inner) if sign == "!" else inner

    def _power(self) -> Value:
        base = self._selected(self._atom())
        return base if self._take(*_POWERS) is None else _calling("pow", base, self._signed())

    def _selected(self, image: Value) -> Value:
        """What follows an image: `.name` or `["name"]`."""
        while sign := self._take(".", "["):
            band = self._band()
            if sign == "[":
                self._expect("]")
            image = self._of(image, band)
        return image

    def _of(self, image: Value, band: str | int) -> Value:
        return lambda given: select(image(given), [band], None)

    def _band(self) -> str | int:
        if not self._left or self._left[0].kind == "sign":
            self._fail()
        token = self._left.pop(0)
        return int(token.text) if token.kind == "number" else token.text

    def _atom(self) -> Value:
        if self._take("("):
            inner = self._choice()
            self._expect(")")
            return inner
        if not self._left or self._left[0].kind not in ("number", "name"):
            self._fail()
        token = self._left.pop(0)
        if token.kind == "number":
            number = float(token.text) if re.search("[.eE]", token.text) else int(token.text)
            return lambda given: images.constant(number)
        return self._call(token.text) if self._take("(") else self._variable(token.text)

    def _variable(self, name: str) -> Value:
        def value(given: Mapping[str, Image]) -> Image:
            if name not in given:
                raise EarthEngineError(f"Image.parseExpression: Unknown variable '{name}'.")
            return given[name]

        return value

    def _call(self, name: str) -> Value:
        if name == "b":
            band = self._band()
            self._expect(")")
            return self._of(self._variable(self._default), band)
        if f"Image.{name}" not in REGISTRY:
            raise EarthEngineError(f"Image.parseExpression: The sandbox does not implement the function '{name}'.")
        arguments = [self._choice()]
        while self._take(","):
            arguments.append(self._choice())
        self._expect(")")
        if not _takes(name, len(arguments)):
            raise EarthEngineError(f"Image.parseExpression: The function '{name}' takes no {len(arguments)} images.")
        return _calling(name, *arguments)


@dataclass(frozen=True)
class Expression:
    """A parsed expression as a function of its variables."""

    value: Value

    def named(self, arguments: Mapping[str, Any]) -> Image:
        """The image, for images by the names of the variables."""
        return self.value({name: item if isinstance(item, Image) else images.constant(item)
                           for name, item in arguments.items()})  # fmt: skip


@algorithm("Image.parseExpression")
def parse_expression(text: str, argument: str, variables: list[str], free_bands: bool) -> Expression:
    return Expression(Parser(text, argument).whole())
