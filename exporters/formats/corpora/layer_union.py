"""The layers of a merger: those of all corpora, where they mean the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

from pipeline.corpus import Corpus
from pipeline.errors import Fatal, unknown_name
from pipeline.licence import Licence
from pipeline.modality import Category, Modality

# What stored values mean does not hang on these, and layers read from files take some of them from the files.
_DESCRIPTIVE = ("title", "reference", "display")


def layers_of_all(corpora: Sequence[Corpus], names: Sequence[str] = ()) -> tuple[Modality, ...]:
    """The layers called `names`, or all, by name. A class table holds the classes of all corpora, the first's first.

    Titles, references and how a layer is shown are those of the first.

    Raises `Fatal` for an unknown name, and for a layer that is not the same in two corpora.
    """
    known = sorted({name for corpus in corpora for name in corpus.modalities})
    for name in names:
        if name not in known:
            raise unknown_name("modality", name, known)
    return tuple(_layer(name, corpora) for name in sorted({*names} or known))


def _layer(name: str, corpora: Sequence[Corpus]) -> Modality:
    holders = [corpus for corpus in corpora if name in corpus.modalities]
    try:
        return reduce(_joined, (corpus.modality(name) for corpus in holders))
    except ValueError as error:
        folders = " and ".join(str(corpus.folder) for corpus in holders)
        raise Fatal(
            f"layer {name!r} is not the same in {folders} ({error}); name the layers to merge with --layer, without it."
        ) from error


def _joined(one: Modality, other: Modality) -> Modality:
    """Both layers as one; raises `ValueError` with what tells them apart."""
    one, other = _with_ranges(one, other), _with_ranges(other, one)
    whole = replace(one, licence=_common(one.licence, other.licence), observed=one.observed or other.observed)
    if one == other:
        return whole
    plain, theirs = one.specification(), other.specification()
    for key in plain:
        if key not in (*_DESCRIPTIVE, "categories") and str(plain[key]) != str(theirs[key]):
            raise ValueError(f"its {key} differs")
    if bool(one.categories) != bool(other.categories):
        raise ValueError("it has classes in one alone")
    return replace(whole, categories=reduce(_with_class, other.categories, one.categories))


def _with_ranges(one: Modality, other: Modality) -> Modality:
    """The layer with the ranges that bands have in the other alone, which may have been laid out later."""
    own = {band.name: band.valid_range for band in other.bands}
    bands = tuple(replace(band, valid_range=band.valid_range or own.get(band.name)) for band in one.bands)
    return one if bands == one.bands else replace(one, bands=bands)


def _common(one: Licence | None, other: Licence | None) -> Licence | None:
    """The licence of both; that of the other, where an older corpus does not say it."""
    if one and other and one != other:
        raise ValueError(f"it is under {one.name!r} in one and {other.name!r} in the other")
    return one or other


def _with_class(known: tuple[Category, ...], category: Category) -> tuple[Category, ...]:
    """The classes, and behind them a new one. Values are codes, so that no stored value becomes another."""
    same = next((item for item in known if item.code == category.code), None)
    if same is not None and same != category:
        raise ValueError(f"class {category.code} is {same.name!r} in one and {category.name!r} in the other")
    return known if same else (*known, category)
