"""The numbers of the report: counts of chips, coverage of each modality, and why candidates were rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from exporters.quality.quality import Quality
from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.corpus_folder import EXTENSIONS
from pipeline.errors import Fatal
from pipeline.manifest import SPLITS, Manifest
from pipeline.modality import Modality
from pipeline.reasons import gathered
from pipeline.statistics import BandStatistics, merge

MOST_REASONS = 6  # that are shown of a layer
REJECTED = ("rejected.parquet", "rejected.json")
_REJECTED = ("stratum", "reason")
_NAMED = ("stratum", "ecoregion_name")


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
    `missing` counts rows without data by reason; `quality` has the findings about all rows.
    """

    modality: Modality
    shards_done: int
    shards: int
    rows_done: int
    missing: Counter[str]
    statistics: Mapping[str, Sequence[BandStatistics]]
    quality: Quality

    @property
    def share_with_data(self) -> float | None:
        """The share of finished rows with data; None before the first shard."""
        return 1 - self.missing.total() / self.rows_done if self.rows_done else None

    @property
    def reasons(self) -> tuple[Count, ...]:
        """Why rows have no data, the most frequent reason first; by kinds where there are many, as with dates."""
        return by_count(gathered(self.missing, MOST_REASONS))

    @property
    def valid_share(self) -> float | None:
        """The share of valid values over all bands of the train rows; None without train rows."""
        bands = [band for group in self.statistics.values() for band in group]
        total = sum(band.count + band.nodata for band in bands)
        return sum(band.count for band in bands) / total if total else None


def per_biome(manifest: Manifest) -> list[Count]:
    """Chips by biome, in RESOLVE's order; those without a biome last."""
    tally = _counted(manifest, "biome", "biome_name")
    ordered = sorted(tally.items(), key=lambda item: (item[0][0] == 0, item[0]))
    return [Count(name or ("not known" if code == 0 else f"biome {code}"), n, code) for (code, name), n in ordered]


def per_year(manifest: Manifest) -> list[Count]:
    """Chips by year of the anchor, gaps between years included."""
    tally: Counter[int] = Counter()
    for month, count in _months(manifest).items():
        tally[month // 12 + 1970] += count
    return [Count(str(year), tally[year]) for year in range(min(tally), max(tally) + 1)]


def per_month(manifest: Manifest) -> list[Count]:
    """Chips by calendar month of the anchor, all twelve."""
    tally: Counter[int] = Counter()
    for month, count in _months(manifest).items():
        tally[month % 12 + 1] += count
    names = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return [Count(name, tally[number]) for number, name in enumerate(names, start=1)]


def _months(manifest: Manifest) -> Counter[int]:
    """Chips by the month of their anchor, counted from January 1970."""
    months: Counter[int] = Counter()
    for (times,) in manifest.pieces("anchor_time"):
        months.update(times.astype("datetime64[M]").astype(int).tolist())
    return months


def _counted(manifest: Manifest, *names: str) -> Counter[tuple[Any, ...]]:
    """How many chips have each combination of values in these columns."""
    counts: Counter[tuple[Any, ...]] = Counter()
    for columns in manifest.pieces(*names):
        counts.update(zip(*(cells.tolist() for cells in columns), strict=True))
    return counts


def per_level(manifest: Manifest) -> list[Count]:
    """Chips by processing level of the anchor."""
    return [Count(name, n) for (name,), n in sorted(_counted(manifest, "level").items())]


def per_split(manifest: Manifest) -> list[Count]:
    """Chips by split, in the order of the manifest."""
    tally = _counted(manifest, "split")
    return [Count(name, tally[(name,)]) for name in SPLITS]


def coverage(corpus: Corpus) -> list[Coverage]:
    """The coverage of each modality, sorted by name, from the ledger only."""
    return [_coverage(corpus, modality) for _, modality in sorted(corpus.modalities.items())]


def _coverage(corpus: Corpus, modality: Modality) -> Coverage:
    rows: list[int] = []
    missing: Counter[str] = Counter()
    quality = Quality(modality)

    def summaries() -> Iterator[Mapping[str, Any]]:
        for entry in corpus.entries(modality.name):
            rows.append(entry.rows[1] - entry.rows[0])
            missing.update(entry.missing.values())
            quality.add(entry.quality)
            yield entry.summary

    statistics = merge(summaries())
    return Coverage(modality, len(rows), len(corpus.shards), sum(rows), missing, statistics, quality)


def by_count(tally: Counter[str]) -> tuple[Count, ...]:
    """Counts as lines, the most frequent first."""
    return tuple(Count(label, n) for label, n in sorted(tally.items(), key=lambda item: (-item[1], item[0])))


def rejected(folder: Path) -> Counter[tuple[str, str]] | None:
    """The number of rejected candidates by stratum and reason, in all steps that chose chips; None without any file.

    Raises `Fatal` when a file cannot be read or lacks a column.
    """
    paths = _rejected_tables(folder)
    return sum((_rejected_in(path) for path in paths), Counter()) if paths else None


def ecoregions_of_rejected(folder: Path) -> dict[str, str]:
    """Strata and their ecoregions' names, of those tables of rejected candidates that have them."""
    known: dict[str, str] = {}
    for path in _rejected_tables(folder):
        if path.suffix == ".parquet" and {*_NAMED} <= {*pq.read_schema(path).names}:
            for piece in _pieces(path, _NAMED):
                known |= {str(item["stratum"]): item["ecoregion_name"] or "" for item in piece}
    return known


def _rejected_tables(folder: Path) -> list[Path]:
    first = next((folder / name for name in REJECTED if (folder / name).exists()), None)
    return [*([first] if first else []), *sorted(folder.glob(f"{EXTENSIONS}/*/{REJECTED[0]}"))]


def _rejected_in(path: Path) -> Counter[tuple[str, str]]:
    try:
        pieces = _pieces(path, _REJECTED) if path.suffix == ".parquet" else [durable.read_json(path)]
        return Counter((str(item["stratum"]), str(item["reason"])) for piece in pieces for item in piece)
    except KeyError as error:
        raise Fatal(f"{path} lacks the columns {', '.join(_REJECTED)}; delete it or anchor again.") from error
    except (OSError, ValueError, TypeError) as error:
        raise Fatal(f"{path} cannot be read ({error}); delete it or anchor again.") from error


def _pieces(path: Path, columns: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=list(columns)):
            yield batch.to_pylist()


def finished_rows(corpus: Corpus) -> np.ndarray:
    """The number of finished modalities for each manifest row, (rows,) int64."""
    finished = np.zeros(len(corpus.manifest), dtype=np.int64)
    for name in corpus.modalities:
        for index in corpus.finished(name):
            finished[corpus.shards[index].slice] += 1
    return finished
