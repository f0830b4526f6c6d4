"""Columns of the explorer: what places are coloured and filtered by, as small arrays that a browser can take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from exporters.report.map import colour_of
from pipeline.chip import ROLES
from pipeline.corpus import Corpus
from pipeline.errors import unknown_name
from pipeline.manifest import SPLITS
from pipeline.measured import measured, measured_columns
from pipeline.reasons import kind_of

MOST_CLASSES = 1000  # of a column of texts; with more it is no class, and only searched
HAS_DATA, NOT_EXPORTED = "has data", "not exported yet"
LAYER = "layer:"
_BESIDE = tuple(role for role in ROLES if role != "anchor")
_TITLES = {"level": "processing level", **{role: f"{role} scene" for role in _BESIDE}}  # of those not called by name
_DAY = np.timedelta64(1, "D")
_NOTHING = "(nothing)"


@dataclass(frozen=True)
class Column:
    """`values` of all rows: codes (rows,) uint8 or uint16 into `labels`, or (rows,) float32, NaN for nothing.

    A "date" is in days since 1970. `colours` are by code where a class has one of its own.
    """

    name: str
    title: str
    kind: Literal["class", "number", "date"]
    values: NDArray[Any]
    labels: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()

    def description(self) -> dict[str, Any]:
        """All but the values, for JSON: with the smallest and largest of numbers."""
        about = {"name": self.name, "title": self.title, "kind": self.kind, "dtype": self.values.dtype.name}
        if self.kind == "class":
            return about | {"labels": self.labels, "colours": self.colours}
        known = self.values[np.isfinite(self.values)]
        return about | {"low": float(known.min()) if known.size else None,
                        "high": float(known.max()) if known.size else None}  # fmt: skip


@dataclass(frozen=True)
class Made:
    """A column that comes from elsewhere: `make` makes it of its name and title, when it is asked for first."""

    name: str
    title: str
    make: Callable[[str, str], Column]
    kept: bool = True  # false of what changes while a run is at work


@dataclass
class Columns:
    """The columns of a corpus by name, each made when it is asked for first; layers anew, as shards may be filling.

    `more` are columns that come from elsewhere.
    """

    corpus: Corpus
    more: tuple[Made, ...] = ()
    _made: dict[str, Column] = field(default_factory=dict)

    def titles(self) -> list[dict[str, str]]:
        """Name and title of every column, for JSON; nothing is read of the ledger."""
        return [{"name": name, "title": self._title(name)} for name in self.names]

    def _title(self, name: str) -> str:
        elsewhere = self._elsewhere.get(name)
        return elsewhere.title if elsewhere else _TITLES.get(name) or self._plain(name)

    def _plain(self, name: str) -> str:
        return name.replace("_", " ") if name in measured_columns(self.corpus) else name.removeprefix(LAYER)

    @property
    def _elsewhere(self) -> dict[str, Made]:
        return {column.name: column for column in self.more}

    @property
    def names(self) -> tuple[str, ...]:
        """All columns; the owner's last."""
        layers = tuple(LAYER + name for name in sorted(self.corpus.modalities))
        own = tuple(name for name in self.corpus.manifest.own_columns if self._as_own(name) is not None)
        more = (column.name for column in self.more)
        return (*_MAKERS, *measured_columns(self.corpus), *more, *layers, *own)

    def __getitem__(self, name: str) -> Column:
        """One of `names`; raises `Fatal` for another one."""
        if name.startswith(LAYER):
            return _of_layer(self.corpus, self.corpus.modality(name.removeprefix(LAYER)).name)
        if name not in self.names:
            raise unknown_name("column", name, self.names)
        if (elsewhere := self._elsewhere.get(name)) and not elsewhere.kept:
            return elsewhere.make(name, elsewhere.title)
        if name not in self._made:
            self._made[name] = elsewhere.make(name, elsewhere.title) if elsewhere else self._of_manifest(name)
        return self._made[name]

    def __iter__(self) -> Iterator[Column]:
        return (self[name] for name in self.names)

    def _of_manifest(self, name: str) -> Column:
        if name in measured_columns(self.corpus):
            return Column(name, name.replace("_", " "), "number", measured(self.corpus, name).astype(np.float32))
        if name in _MAKERS:
            return _MAKERS[name](self.corpus)
        own = self._as_own(name)
        assert own is not None  # noqa: S101  # it is one of `names`
        return own

    def _as_own(self, name: str) -> Column | None:
        if f"own:{name}" not in self._made:
            made = _of_owner(self.corpus, name)
            if made is None:
                return None
            self._made[f"own:{name}"] = made
        return self._made[f"own:{name}"]


def small(codes: NDArray[np.integer], count: int) -> NDArray[Any]:
    """Codes of `count` labels as a column has them: uint8 where that is enough, else uint16."""
    return codes.astype(np.uint8 if count <= 256 else np.uint16)


def _biome(corpus: Corpus) -> Column:
    numbers, names = corpus.manifest.column("biome"), corpus.manifest.column("biome_name")
    present, first, codes = np.unique(numbers, return_index=True, return_inverse=True)
    labels = tuple(str(names[at]) or ("not known" if not number else f"biome {number}")
                   for number, at in zip(present.tolist(), first, strict=True))  # fmt: skip
    return Column("biome", "biome", "class", small(codes, len(labels)), labels, tuple(map(colour_of, present.tolist())))


def _ecoregion(corpus: Corpus) -> Column:
    return _of_texts("ecoregion", "ecoregion", corpus.manifest.column("ecoregion_name"))


def _split(corpus: Corpus) -> Column:
    names = corpus.manifest.column("split")
    codes = sum(((names == name) * code for code, name in enumerate(SPLITS)), np.zeros(len(names), dtype=np.int64))
    return Column("split", "split", "class", codes.astype(np.uint8), SPLITS)


def _date(corpus: Corpus) -> Column:
    return Column("date", "date", "date", _days(corpus.manifest.column("anchor_time")))


def _level(corpus: Corpus) -> Column:
    return _of_texts("level", _TITLES["level"], corpus.manifest.column("level"))


def _of_scene(role: str, corpus: Corpus) -> Column:
    """Whether a chip is pinned to a scene of this role."""
    absent = pd.isna(pd.Series(corpus.manifest.column(f"{role}_id"), dtype=object)).to_numpy()
    return Column(role, _TITLES[role], "class", absent.astype(np.uint8), ("there", "none"))


_MAKERS: dict[str, Callable[[Corpus], Column]] = {
    "biome": _biome, "ecoregion": _ecoregion, "split": _split, "date": _date, "level": _level,
    **{role: partial(_of_scene, role) for role in _BESIDE},
}  # fmt: skip


def _days(times: NDArray[Any]) -> NDArray[np.float32]:
    moments = pd.to_datetime(pd.Series(times), utc=True).dt.tz_localize(None).to_numpy().astype("datetime64[s]")
    days = (moments - np.datetime64(0, "s")) / _DAY
    return np.where(np.isnat(moments), np.nan, days).astype(np.float32)


def _of_texts(name: str, title: str, cells: NDArray[Any]) -> Column:
    texts = pd.Series(cells).fillna(_NOTHING).astype(str).replace("", _NOTHING)
    codes, labels = pd.factorize(texts, sort=True)
    return Column(name, title, "class", small(codes, len(labels)), tuple(map(str, labels)))


def _of_owner(corpus: Corpus, name: str) -> Column | None:
    """A column that the owner brought; None where neither colour nor filter can be made of it, as of outlines."""
    cells = pd.Series(corpus.manifest.column(name))
    if pd.api.types.is_bool_dtype(cells):
        return _of_texts(name, name, cells.map({True: "true", False: "false"}).to_numpy())
    if pd.api.types.is_numeric_dtype(cells):
        return Column(name, name, "number", cells.to_numpy(dtype=np.float32))
    if pd.api.types.is_datetime64_any_dtype(cells):
        return Column(name, name, "date", _days(cells.to_numpy()))
    known = cells.dropna()
    if known.map(lambda cell: isinstance(cell, str)).all() and known.nunique() <= MOST_CLASSES:
        return _of_texts(name, name, cells.to_numpy())
    return None


def _of_layer(corpus: Corpus, name: str) -> Column:
    """Whether a chip has the layer, or why not; reasons with dates in them count as one."""
    labels: dict[str, int] = {HAS_DATA: 0, NOT_EXPORTED: 1}
    codes = np.ones(len(corpus.manifest), dtype=np.int64)
    for entry in corpus.findings(name):
        codes[slice(*entry.rows)] = 0
        for row, code in _coded_reasons(entry.missing, labels):
            codes[row] = code
    present, compact = np.unique(codes, return_inverse=True)
    names = list(labels)
    return Column(LAYER + name, name, "class", small(compact, len(present)), tuple(names[code] for code in present))


def _coded_reasons(missing: Mapping[int, str], labels: dict[str, int]) -> Iterator[tuple[int, int]]:
    for row, reason in missing.items():
        yield row, labels.setdefault(kind_of(reason), len(labels))
