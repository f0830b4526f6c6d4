"""What the losses of a run mean, in words: which fell, and which cannot yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

FELL = 0.9  # of its first value: by a tenth, more than batches differ
_MOST = 6


def loss_words(first: Mapping[str, float], last: Mapping[str, float], steps: int, meaning: str = "") -> list[str]:
    """Lines about losses by name, means over the first and the last steps; none without any.

    `meaning` is what the method says of them.

    >>> print(loss_words({"height": 1.0, "month": 1.0}, {"height": 0.4, "month": 0.98}, 250)[0])
    In 250 steps 1 of 2 losses fell by a tenth or more: height to 40 % of what it was.
    """
    shares = {name: last[name] / first[name] for name in first if name in last and first[name] > 0}
    if not shares:
        return []
    fell = sorted((name for name, share in shares.items() if share <= FELL), key=lambda name: shares[name])
    rest = sorted((name for name in shares if name not in fell), key=lambda name: -shares[name])
    lines = [f"In {steps} steps {len(fell)} of {len(shares)} losses fell by a tenth or more{_most(fell, shares)}."]
    if rest:
        lines.append(f"{_listed(rest)} hardly fell: on so few steps and chips that is to be expected.")
    return [*lines, meaning] if meaning else lines


def _most(fell: Sequence[str], shares: Mapping[str, float]) -> str:
    if not fell:
        return ""
    return f": {fell[0]} {'most, ' if len(fell) > 1 else ''}to {shares[fell[0]]:.0%} of what it was".replace("%", " %")


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:_MOST])
    more = [f"{len(names) - _MOST} others"] if len(names) > _MOST else []
    parts = [*shown, *more]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
