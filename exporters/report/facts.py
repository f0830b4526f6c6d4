"""The numbers of the report: counts of chips, coverage of each modality, and why candidates were rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from exporters.quality.quality import Quality
from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.manifest import SPLITS, Manifest
from pipeline.modality import Modality
from pipeline.statistics import BandStatistics, merge

REJECTED = ("rejected.parquet", "rejected.json")


@dataclass(frozen=True)
class Count:
    """One line of a count; `code` selects the colour, where there is one."""

    label: str
    count: int
    code: int = 0


@dataclass(frozen=True)
class Coverage:
    """The ledger's entries of a modality, read once: a full-size corpus has tens of thousands of them.

    `rows_done` counts the rows of finished shards; `statistics` are those of their train rows, per group and band;
    `missing` maps manifest rows to the reason why they have no data; `quality` has the findings about all rows.
    """

    modality: Modality
    shards_done: int
    shards: int
    rows_done: int
    missing: Mapping[int, str]
    statistics: Mapping[str, Sequence[BandStatistics]]
    quality: Quality

    @property
    def share_with_data(self) -> float | None:
        """The share of finished rows with data; None before the first shard."""
        return 1 - len(self.missing) / self.rows_done if self.rows_done else None

    @property
    def reasons(self) -> tuple[Count, ...]:
        """Why rows have no data, the most frequent reason first."""
        return tally(self.missing.values())

    @property
    def valid_share(self) -> float | None:
        """The share of valid values over all bands of the train rows; None without train rows."""
        bands = [band for group in self.statistics.values() for band in group]
        total = sum(band.count + band.nodata for band in bands)
        return sum(band.count for band in bands) / total if total else None


def per_biome(manifest: Manifest) -> list[Count]:
    """Chips by biome, in RESOLVE's order; those without a biome last."""
    pairs = zip(manifest.column("biome").tolist(), manifest.column("biome_name").tolist(), strict=True)
    tally = Counter(pairs)
    ordered = sorted(tally.items(), key=lambda item: (item[0][0] == 0, item[0]))
    return [Count(name or ("not known" if code == 0 else f"biome {code}"), n, code) for (code, name), n in ordered]


def per_year(manifest: Manifest) -> list[Count]:
    """Chips by year of the anchor, gaps between years included."""
    tally = Counter((_months(manifest) // 12 + 1970).tolist())
    return [Count(str(year), tally[year]) for year in range(min(tally), max(tally) + 1)]


def per_month(manifest: Manifest) -> list[Count]:
    """Chips by calendar month of the anchor, all twelve."""
    tally = Counter((_months(manifest) % 12 + 1).tolist())
    names = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return [Count(name, tally[number]) for number, name in enumerate(names, start=1)]


def _months(manifest: Manifest) -> np.ndarray:
    """The month of every anchor, (rows,) int64, counted from January 1970."""
    return manifest.column("anchor_time").astype("datetime64[M]").astype(int)


def per_level(manifest: Manifest) -> list[Count]:
    """Chips by processing level of the anchor."""
    return [Count(name, n) for name, n in sorted(Counter(manifest.column("level").tolist()).items())]


def per_split(manifest: Manifest) -> list[Count]:
    """Chips by split, in the order of the manifest."""
    tally = Counter(manifest.column("split").tolist())
    return [Count(name, tally[name]) for name in SPLITS]


def coverage(corpus: Corpus) -> list[Coverage]:
    """The coverage of each modality, sorted by name, from the ledger only."""
    return [_coverage(corpus, modality) for _, modality in sorted(corpus.modalities.items())]


def _coverage(corpus: Corpus, modality: Modality) -> Coverage:
    rows: list[int] = []
    missing: dict[int, str] = {}
    quality = Quality(modality)

    def summaries() -> Iterator[Mapping[str, Any]]:
        for entry in corpus.entries(modality.name):
            rows.append(entry.rows[1] - entry.rows[0])
            missing.update(entry.missing)
            quality.add(entry.quality)
            yield entry.summary

    statistics = merge(summaries())
    return Coverage(modality, len(rows), len(corpus.shards), sum(rows), missing, statistics, quality)


def _by_count(tally: Counter[str]) -> tuple[Count, ...]:
    return tuple(Count(label, n) for label, n in sorted(tally.items(), key=lambda item: (-item[1], item[0])))


def rejected(folder: Path) -> pd.DataFrame | None:
    """The rejected candidates with columns `stratum` and `reason`; None without their file.

    Raises `Fatal` when the file lacks a column.
    """
    path = next((folder / name for name in REJECTED if (folder / name).exists()), None)
    if path is None:
        return None
    frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.DataFrame(durable.read_json(path))
    if not len(frame):
        return pd.DataFrame({"stratum": [], "reason": []})
    absent = [name for name in ("stratum", "reason") if name not in frame.columns]
    if absent:
        raise Fatal(f"{path} lacks the columns {', '.join(absent)}; delete it or anchor again.")
    return frame


def tally(values: Iterable[object]) -> tuple[Count, ...]:
    """Counts of equal values, the most frequent first."""
    return _by_count(Counter(str(value) for value in values))


def finished_rows(corpus: Corpus) -> np.ndarray:
    """The number of finished modalities for each manifest row, (rows,) int64."""
    finished = np.zeros(len(corpus.manifest), dtype=np.int64)
    for name in corpus.modalities:
        for index in corpus.finished(name):
            finished[corpus.shards[index].slice] += 1
    return finished
