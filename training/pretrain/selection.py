"""Selects the layers of a run by name or by kind: `@pixel`, `@image`, `@colour`, …."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pipeline.errors import Fatal, unknown_name
from pipeline.modality import Modality
from training.config import PretrainConfig

DISPLAYED = "@display"  # For bands: the bands in which a layer is displayed, in that order.
_INPUTS = "@inputs"
_SELECTORS: dict[str, Callable[[Modality], bool]] = {
    "@all": lambda modality: True,
    "@pixel": lambda modality: modality.extent == "pixel",
    "@image": lambda modality: modality.extent == "image",
    "@colour": lambda modality: modality.display.style == "rgb",
}


def resolve_names(
    config: PretrainConfig, modalities: Mapping[str, Modality], no_targets: Sequence[str] = ("@all",)
) -> PretrainConfig:
    """`config` with the names of a corpus's layers and bands in place of selectors.

    `no_targets` are the selectors that empty targets mean.

    `@all`, `@pixel`, `@image` and `@colour` (displayed in true colour) select by the specification, and targets also by
    `@inputs`; a name with a minus excludes that layer. Keys of `bands` may be selectors too, but a name has precedence;
    `@display` stands for the bands in which a layer is displayed. Raises `Fatal` for an unknown selector or excluded
    name, for inputs or targets that select nothing, and for `@display` of a layer without display bands.
    """
    inputs = _chosen("inputs", config.inputs, modalities, ())
    targets = _chosen("targets", config.targets or no_targets, modalities, inputs)
    bands = {name: _bands(name, wanted, modalities) for name, wanted in _by_name(config, modalities, inputs).items()}
    return replace(config, inputs=inputs, targets=targets, bands=bands)


def _chosen(
    what: str, wanted: Sequence[str], modalities: Mapping[str, Modality], inputs: Sequence[str]
) -> tuple[str, ...]:
    result = [name for item in wanted if not item.startswith("-") for name in _expanded(item, modalities, inputs)]
    left_out = {item[1:] for item in wanted if item.startswith("-")}
    for name in sorted(left_out - set(modalities)):
        raise unknown_name("modality", name, modalities)
    names = tuple(name for name in dict.fromkeys(result) if name not in left_out)
    if wanted and not names:
        begun = f"begin with what they are left out of, as {['@all', *wanted]}" if left_out and not result else ""
        known = begun or f"name some of {', '.join(modalities)}"
        raise Fatal(f"pretrain.{what} = {list(wanted)} selects no modality of this corpus; {known}.")
    return names


def _expanded(item: str, modalities: Mapping[str, Modality], inputs: Sequence[str]) -> list[str]:
    if not item.startswith("@"):
        return [item]
    if item == _INPUTS:
        return list(inputs)
    if item not in _SELECTORS:
        raise unknown_name("selector", item, [*_SELECTORS, _INPUTS])
    return [name for name, modality in modalities.items() if _SELECTORS[item](modality)]


def _by_name(
    config: PretrainConfig, modalities: Mapping[str, Modality], inputs: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """The wanted bands by modality; an entry of a name overrides one of a selector."""
    ordered = sorted(config.bands.items(), key=lambda item: not item[0].startswith("@"))
    return {name: bands for key, bands in ordered for name in _expanded(key, modalities, inputs)}


def _bands(name: str, wanted: tuple[str, ...], modalities: Mapping[str, Modality]) -> tuple[str, ...]:
    if DISPLAYED not in wanted or name not in modalities:
        return wanted
    shown = modalities[name].display.bands
    if not shown:
        raise Fatal(f"modality {name!r} does not say which bands it is shown in; name them in pretrain.bands.{name}.")
    return tuple(band for item in wanted for band in (shown if item == DISPLAYED else (item,)))
