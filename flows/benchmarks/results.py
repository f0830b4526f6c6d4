"""Scores on a benchmark: as a table for a person, and as JSON and CSV for what comes after."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporters.formats.benchmarks.published_scores import PublishedScore
from pipeline import durable

if TYPE_CHECKING:
    from training.evaluate.tasks.tally import Figure, Tally

RESULTS = "results"
_COLUMNS = ("data", "protocol", "features", "measure", "value", "low", "high", "source")
_HERE = "run here"


@dataclass(frozen=True)
class Results:
    """`figures` by name of what was compared, the first of which the others are measured by; `gaps` to it.

    `headline` is the measure by which the field compares, `published` what others have of it.
    """

    title: str
    protocol: str
    headline: str
    figures: Mapping[str, Mapping[str, Figure]]
    gaps: Mapping[str, Figure]
    published: Sequence[PublishedScore]
    facts: Mapping[str, Any]

    @classmethod
    def of(
        cls, title: str, protocol: str, tallies: Mapping[str, Tally], published: Sequence[PublishedScore],
        facts: Mapping[str, Any],
    ) -> Results:  # fmt: skip
        """From tallies of the same test images."""
        from training.evaluate.tasks.tally import figures_of, gap

        first = next(iter(tallies.values()))
        gaps = {name: gap(first, tally) for name, tally in tallies.items() if tally is not first}
        figures = {name: figures_of(tally) for name, tally in tallies.items()}
        return cls(title, protocol, first.headline, figures, gaps, published, facts)

    def table(self) -> str:
        """Lines of text."""
        lines = [
            self.title,
            f"  {'':<34}{_words(self.headline):>14}   {'95 % of resamples':<20}what the first has over it",
            *(self._line(name) for name in self.figures),
            *(f"  {item.encoder + ' *':<34}{item.score:>14.3f}   {item.source}" for item in self.published),
        ]
        first = next(iter(self.figures.values()))
        rest = [f"{_words(name)} {item.value:.3f}" for name, item in first.items() if name != self.headline]
        lines.append(f"  Of the first also: {', '.join(rest)}.")
        if self.published:
            lines.append(f"  * published, {self.protocol}, and not run here.")
        return "\n".join(lines)

    def _line(self, name: str) -> str:
        figure = self.figures[name][self.headline]
        line = f"  {name:<34}{figure.value:>14.3f}   {_range(figure):<20}"
        if name not in self.gaps:
            return line.rstrip()
        gap = self.gaps[name]
        return f"{line}{gap.value:+.3f} ({gap.interval[0]:+.3f} to {gap.interval[1]:+.3f})"

    def write(self, folder: Path, name: str = RESULTS) -> list[Path]:
        """`name`.json and `name`.csv in a folder; raises `Fatal` where they cannot be written."""
        paths = [folder / f"{name}.json", folder / f"{name}.csv"]
        durable.write_json(paths[0], self.to_dict())
        durable.write_text(paths[1], self._csv())
        return paths

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            **self.facts, "protocol": self.protocol, "headline": self.headline,
            "scores": {name: {measure: _plain(figure) for measure, figure in figures.items()}
                       for name, figures in self.figures.items()},
            "gaps": {name: _plain(figure) for name, figure in self.gaps.items()},
            "published": [vars(item) for item in self.published],
        }  # fmt: skip

    def _csv(self) -> str:
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_COLUMNS)
        data = self.facts.get("name", "")
        for name, figures in self.figures.items():
            for measure, figure in figures.items():
                writer.writerow((data, self.protocol, name, measure, figure.value, *figure.interval, _HERE))
        for item in self.published:
            writer.writerow((data, item.protocol, item.encoder, item.measure, item.score, "", "", item.source))
        return stream.getvalue()


def _words(measure: str) -> str:
    return measure.replace("_", " ")


def _range(figure: Figure) -> str:
    return f"{figure.interval[0]:.3f} to {figure.interval[1]:.3f}"


def _plain(figure: Figure) -> dict[str, float | None]:
    """JSON does not know NaN."""
    values = {"value": figure.value, "low": figure.interval[0], "high": figure.interval[1]}
    return {name: value if value == value else None for name, value in values.items()}
