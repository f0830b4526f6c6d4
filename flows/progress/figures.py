"""Figures of a run as text: the most important first, in lines that break between figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipeline.progress import Figure, duration

LOSS = "loss_"
# Where a run stands, and what is wrong with it, come before what it costs; others follow as they came.
_FIRST = (
    "left_s", "eta", "chips_per_s", "samples_per_s", "per_s", "loss", "given_up", "errors", "requests_per_chip",
    "refused", "retries", "lr", "data_wait_share",
)  # fmt: skip
_SAME = (("left_s", "eta"), ("per_s", "samples_per_s"))
_GAP = "  "


def figures_text(figures: Mapping[str, Figure]) -> str:
    """Figures in one line of text, in the order of `ordered`."""
    return _GAP.join(texts(figures))


def texts(figures: Mapping[str, Figure]) -> list[str]:
    """Each figure as text, in the order of `ordered`."""
    return [_figure(name, value) for name, value in ordered(figures).items()]


def ordered(figures: Mapping[str, Figure]) -> dict[str, Figure]:
    """The same, the most important first; what trainers say of the time left and the speed, only once."""
    doubled = {first for first, second in _SAME if {first, second} <= figures.keys()}
    names = [name for name in (*_FIRST, *figures) if name in figures and name not in doubled]
    return {name: figures[name] for name in names}


def split_losses(figures: Mapping[str, Figure]) -> tuple[dict[str, Figure], dict[str, float]]:
    """The figures that are no loss of one layer, and those that are, by layer."""
    losses = {name.removeprefix(LOSS): float(value) for name, value in figures.items() if _is_loss(name, value)}
    return {name: value for name, value in figures.items() if not _is_loss(name, value)}, losses


def _is_loss(name: str, value: Figure) -> bool:
    return name.startswith(LOSS) and not isinstance(value, str)


def lines(parts: Iterable[str], width: int) -> list[str]:
    """Parts in lines of at most `width` characters, broken between them; a longer one is cut."""
    result: list[str] = []
    for part in parts:
        joined = f"{result[-1]}{_GAP}{part}" if result else part
        if result and len(joined) <= width:
            result[-1] = joined
        else:
            result.append(part if len(part) <= width else f"{part[: width - 1]}…")
    return result


def _figure(name: str, value: Figure) -> str:
    if name == "left_s":
        return f"left {duration(float(value))}"
    if name == "eta":
        return f"left {value}"
    short = value if isinstance(value, str) else f"{value:.3g}" if isinstance(value, float) else f"{value:,}"
    return f"{name.replace('_', ' ')} {short}"
