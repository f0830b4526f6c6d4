"""Numbers per image or per pixel: squared error of standardised values; RMSE and R2 in the labels' own units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import Fatal
from training.evaluate.tasks.label_task import Kind, Shown


@dataclass(frozen=True)
class NumberTally:
    """Sums per sample, (samples, columns) float64: `counts`, `errors` (squared), and `sums`, `squares` of the labels.

    Labels are taken from `about` (columns,), so that their squares do not lose digits.
    """

    counts: NDArray[np.float64]
    errors: NDArray[np.float64]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]
    headline: ClassVar[str] = "r2"

    @property
    def samples(self) -> int:
        """Number of images."""
        return len(self.counts)

    def figures(self, times: NDArray[np.int64] | None = None) -> dict[str, float]:
        """R2, RMSE and mean squared error, each the mean over columns."""
        weights = np.ones(self.samples) if times is None else times.astype(np.float64)
        counts, errors, sums, squares = (weights @ part for part in (self.counts, self.errors, self.sums, self.squares))
        with np.errstate(invalid="ignore", divide="ignore"):
            mse = errors / counts
            spread = squares - sums**2 / counts
            r2 = np.where(spread > 0, 1 - errors / spread, np.nan)
        return {"r2": _mean(r2), "rmse": _mean(np.sqrt(mse)), "mse": _mean(mse)}


@dataclass(frozen=True)
class Regression:
    """Labels are numbers, (samples, columns) or (samples, columns, y, x), NaN for none.

    `mean` and `std` are those of the training labels by column: the head gives standardised numbers, so that a unit
    decides nothing about the learning rate.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    kind: ClassVar[Kind] = "regression"
    shows: ClassVar[tuple[Shown, ...]] = ("number",)

    def check(self, labels: NDArray[Any]) -> None:
        """Raise `Fatal` for labels that are no numbers, or not a column for each name."""
        if labels.dtype.kind not in "fiu":
            raise Fatal(
                f"labels are {labels.dtype}, and numbers are to be predicted; give numbers, or classes by name."
            )
        if labels.ndim not in (2, 4) or labels.shape[1] != len(self.names):
            raise Fatal(
                f"labels have shape {labels.shape}; give (samples, {len(self.names)}) numbers, or "
                f"(samples, {len(self.names)}, y, x) for pixels."
            )

    def known(self, labels: NDArray[Any]) -> bool:
        """Whether any label is a number."""
        return bool(np.isfinite(labels).any())

    def fitted(self, labels: Iterable[NDArray[Any]]) -> Self:
        """With the moments of training labels, given in parts. Raises `Fatal` for a column without any number."""
        counts, sums, squares = (np.zeros(len(self.names)) for _ in range(3))
        for part in labels:
            values = _by_column(part)
            known = np.isfinite(values)
            counts += known.sum(axis=(0, 2))
            sums += np.where(known, values, 0).sum(axis=(0, 2))
            squares += np.where(known, values, 0).__pow__(2).sum(axis=(0, 2))
        if not counts.all():
            raise Fatal(f"column {self.names[int(counts.argmin())]!r} has no number among the training labels.")
        std = np.sqrt(np.maximum(squares / counts - (sums / counts) ** 2, 0))
        return replace(self, mean=tuple(sums / counts), std=tuple(np.where(std > 0, std, 1.0)))

    def loss(self, outputs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Mean squared error over what has a label, in standard deviations of the training labels."""
        mean, std = (self._columns(part, outputs) for part in (self.mean, self.std))
        known = labels.isfinite()
        errors = (outputs - (labels.float() - mean) / std)[known].square()
        return errors.sum() / known.sum().clamp(min=1)

    def answers(self, outputs: Tensor) -> NDArray[Any]:
        """Numbers in the labels' units, float64."""
        mean, std = (self._columns(part, outputs.double()) for part in (self.mean, self.std))
        return np.asarray((outputs.double() * std + mean).cpu().numpy())

    def estimates(self, outputs: Tensor) -> NDArray[np.float32]:
        """Numbers in the labels' units."""
        return self.answers(outputs).astype(np.float32)

    def tally(self, parts: Iterable[tuple[Tensor, NDArray[Any]]]) -> NumberTally:
        """Sums per sample; samples without any label do not count."""
        about = np.array(self.mean)[:, None]
        sums = [
            _sums(_by_column(self.answers(outputs)) - about, _by_column(labels) - about) for outputs, labels in parts
        ]
        tables = [np.concatenate([part[index] for part in sums]) for index in range(4)]
        kept = tables[0].any(axis=1)
        return NumberTally(*(table[kept] for table in tables))

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"kind": self.kind, "mean": list(self.mean), "std": list(self.std)}

    def _columns(self, values: tuple[float, ...], like: Tensor) -> Tensor:
        column = torch.tensor(values, dtype=like.dtype, device=like.device)
        return column.reshape(1, -1, *(1,) * (like.ndim - 2))


def _by_column(values: NDArray[Any]) -> NDArray[np.float64]:
    """(samples, columns[, y, x]) as (samples, columns, pixels) float64."""
    return values.astype(np.float64).reshape(*values.shape[:2], -1)


def _sums(answers: NDArray[np.float64], labels: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    known = np.isfinite(labels)
    errors, values = (np.where(known, part, 0.0) for part in (answers - labels, labels))
    return tuple(part.sum(axis=2) for part in (known.astype(np.float64), errors**2, values, values**2))


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
