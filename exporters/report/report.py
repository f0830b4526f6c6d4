"""The report: one self-contained HTML page about a finished or unfinished corpus. Equal corpora give equal bytes."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from exporters.report import (
    charts as report_charts,
)
from exporters.report import (
    chips as report_chips,
)
from exporters.report import (
    facts as report_facts,
)
from exporters.report import (
    map as report_map,
)
from exporters.report import (
    quality as report_quality,
)
from exporters.report import (
    splits as report_splits,
)
from exporters.report.charts import Histogram
from exporters.report.facts import Count, Coverage
from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.layer_cost import read_layer_costs
from pipeline.manifest import SPLITS
from pipeline.modality import Category
from pipeline.reasons import gathered

REPORT = "report.html"
_TEMPLATE = "report.html.jinja"
# Where links are put once there is an explorer beside the page. No name of a corpus can look so: "<" is escaped.
_EXPLORER, _CHIP = "<!--explorer-->", re.compile(r"<!--chip (\d+)-->")
# Longer tables would be harder to read.
_MOST_LINES = 16
# Panels with more histograms take the whole width.
_FULL_WIDTH = 3


@dataclass(frozen=True)
class Bar:
    """One line of a bar table; `share` is the count divided by the largest one, `part` by the total."""

    label: str
    count: int
    share: float
    part: float
    colour: str = ""


@dataclass(frozen=True)
class Distribution:
    """The distribution of the values of one modality: histograms, or class shares."""

    name: str
    title: str
    groups: tuple[str, ...]
    histograms: tuple[Histogram, ...] = ()
    classes: tuple[Bar, ...] = ()
    more_classes: int = 0


def write_report(corpus_folder: Path, chips: int = 24) -> Path:
    """Publish `report.html` in the corpus folder, with up to `chips` chips drawn; returns its path.

    Draws the finished shards and lists the unfinished ones. Raises `Fatal` when there is no corpus in the folder
    or one of its files cannot be read.
    """
    corpus = Corpus.open(corpus_folder)
    return publish(corpus, report_facts.coverage(corpus), chips)


def publish(corpus: Corpus, covered: list[Coverage], chips: int = 24) -> Path:
    """As `write_report`, for an open corpus and its `facts.coverage` (which reads the whole ledger)."""
    path = corpus.folder / REPORT
    durable.write_text(path, render(corpus, covered, chips))
    return path


def render(corpus: Corpus, covered: list[Coverage], chips: int) -> str:
    """The page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["breakable"] = breakable
    environment.filters["typed"] = shlex.quote
    environment.filters["percent"] = percent
    environment.filters["distance"] = report_splits.distance_text
    environment.filters["size"] = size_text
    environment.globals |= {"full_width": _FULL_WIDTH, "most_reasons": report_facts.MOST_REASONS}
    environment.filters["thousands"] = "{:,}".format
    return environment.get_template(_TEMPLATE).render(_page(corpus, covered, chips))


def linked(page: str, explorer: str, chip: Callable[[int], str]) -> str:
    """A report page with links to an `explorer`, and to what `chip` gives for a row, if it is not "".

    Both are addresses without quotes and angle brackets. A page of an older release has no place for them.
    """
    page = page.replace(_EXPLORER, f'<li><a href="{explorer}">Explorer</a></li>', 1)
    return _CHIP.sub(lambda found: _link(chip(int(found[1]))), page)


def _link(address: str) -> str:
    return f' <a href="{address}">open it in the explorer</a>' if address else ""


def _page(corpus: Corpus, covered: list[Coverage], chips: int) -> dict[str, Any]:
    cards = report_chips.cards(corpus, covered, report_chips.choose_rows(corpus, chips))
    return {
        "title": corpus.folder.resolve().name,
        "figures": _figures(corpus, covered),
        "manifest_digest": corpus.manifest.digest,
        "unfinished": _unfinished(covered),
        "coverage": covered,
        "costs": read_layer_costs(corpus.folder),
        "scenes": [(item.modality.name, *role) for item in covered for role in item.quality.scenes.items()],
        "quality": report_quality.lines([item.quality for item in covered]),
        "flags": [flag for item in covered for flag in item.quality.flags()],
        "distributions": sorted((_distribution(item) for item in covered if item.shards_done), key=_panel_order),
        "cards": cards,
        "legends": _legends(corpus, cards),
        **_map_and_dates(corpus),
        **_splits(corpus),
        **_rejected(corpus),
    }


def _map_and_dates(corpus: Corpus) -> dict[str, Any]:
    """The map, and the chips by biome, year, month and level."""
    manifest = corpus.manifest
    biomes = report_facts.per_biome(manifest)
    return {
        "map": Markup(report_map.world_map(corpus.folder, manifest, biomes)),  # noqa: S704
        "cell_km2": report_map.CELL_KM2 if len(manifest) > report_map.MOST_POINTS else 0,
        "points": len(manifest),
        "biomes": [_coloured(bar, item) for bar, item in zip(_bars(biomes), biomes, strict=True)],
        "years": Markup(report_charts.columns(report_facts.per_year(manifest), "Chips per year")),  # noqa: S704
        "months": Markup(report_charts.columns(report_facts.per_month(manifest), "Chips per month")),  # noqa: S704
        "levels": _bars(report_facts.per_level(manifest)),
    }


def _splits(corpus: Corpus) -> dict[str, Any]:
    """The chips of each split, the distances between splits, and their shares of each stratum."""
    manifest = corpus.manifest
    centres = report_splits.centres_of(manifest)
    return {
        "splits": _bars(report_facts.per_split(manifest)),
        "split_names": SPLITS,
        "gaps": report_splits.gaps(manifest, centres),
        "overlaps": report_splits.overlapping_pairs(manifest, centres),
        "stratum_shares": report_splits.stratum_shares(manifest),
    }


def _coloured(bar: Bar, biome: Count) -> Bar:
    return Bar(bar.label, bar.count, bar.share, bar.part, report_map.colour_of(biome.code))


def _bars(counts: tuple[Count, ...] | list[Count]) -> list[Bar]:
    most = max((item.count for item in counts), default=0) or 1
    total = sum(item.count for item in counts) or 1
    return [Bar(item.label, item.count, item.count / most, item.count / total) for item in counts]


def _figures(corpus: Corpus, covered: list[Coverage]) -> list[tuple[str, str]]:
    manifest = corpus.manifest
    done, wanted = sum(item.shards_done for item in covered), sum(item.shards for item in covered)
    side_km = manifest.size_px * manifest.resolution_m / 1000
    years = report_facts.per_year(manifest)
    return [
        (f"{len(manifest):,}", "chips"),
        (f"{len(covered)}", "modalities"),
        (size_text(corpus.store.size_bytes()), "on disk" if corpus.store.folder else "in the bucket"),
        (f"{done:,} / {wanted:,}", f"shards done, {corpus.shard_rows} rows each"),
        (f"{manifest.size_px} px", f"a side, {side_km:.2f} km on the ground"),
        (years[0].label if len(years) == 1 else f"{years[0].label}\u2013{years[-1].label}", "anchor scenes"),
    ]


def breakable(name: str) -> Markup:
    """A name as HTML that may break after its underscores."""
    return Markup(escape(name).replace("_", Markup("_<wbr>")))  # noqa: S704


def size_text(size_bytes: int) -> str:
    """Decimal kB, MB, GB or TB with three significant digits."""
    size, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.3g} {unit}" if size < 1000 else f"{size:,.0f} {unit}"


def percent(share: float | None) -> str:
    """A share as a percentage; only exactly 0 and 1 are shown as 0 and 100."""
    if share is None:
        return "\u2013"
    if 0.999 <= share < 1:
        return "> 99.9 %"
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{share * 100:.3g} %"


def _unfinished(covered: list[Coverage]) -> list[tuple[str, int, int]]:
    return [(item.modality.name, item.shards_done, item.shards) for item in covered if item.shards_done < item.shards]


def _rejected(corpus: Corpus) -> dict[str, Any]:
    """Why candidates were rejected, and in which strata."""
    counts = report_facts.rejected(corpus.folder)
    if counts is None:
        return {"rejected": None, "reasons": [], "strata": [], "more_strata": 0}
    reasons: Counter[str] = Counter()
    for (_, reason), count in counts.items():
        reasons[reason] += count
    strata = report_facts.by_count(_stratum_names(corpus, counts))
    return {
        "rejected": counts.total(),
        "reasons": _bars(report_facts.by_count(gathered(reasons, _MOST_LINES)))[:_MOST_LINES],
        "strata": _bars(strata)[:_MOST_LINES],
        "more_strata": max(0, len(strata) - _MOST_LINES),
    }


def _stratum_names(corpus: Corpus, rejected: Counter[tuple[str, str]]) -> Counter[str]:
    """Rejected candidates by the name of their ecoregion, where it is known; else by that of their stratum."""
    names = {stratum: "" for stratum, _ in rejected} | report_facts.ecoregions_of_rejected(corpus.folder)
    for strata, regions in corpus.manifest.pieces("stratum", "ecoregion_name"):
        names |= {stratum: name for stratum, name in zip(strata, regions, strict=True) if stratum in names}
    counts: Counter[str] = Counter()
    for (stratum, _), count in rejected.items():
        counts[names[stratum] or stratum] += count
    return counts


def _distribution(covered: Coverage) -> Distribution:
    modality, statistics = covered.modality, covered.statistics
    groups = tuple(statistics) if len(statistics) > 1 else ()
    if not modality.categories:
        charts = tuple(report_charts.histograms(modality, statistics))
        return Distribution(modality.name, modality.title, groups, charts)
    counts = [sum(band.histogram[i] for bands in statistics.values() for band in bands if band.histogram)
              for i in range(len(modality.categories))]  # fmt: skip
    bars = _class_bars(modality.categories, counts)
    return Distribution(
        modality.name, modality.title, (), (), tuple(bars[:_MOST_LINES]), max(0, len(bars) - _MOST_LINES)
    )


def _panel_order(item: Distribution) -> tuple[bool, bool, int]:
    """Small panels first, and similar ones together, so that neighbours have about the same height."""
    return len(item.histograms) > _FULL_WIDTH, bool(item.classes), len(item.classes)


def _class_bars(categories: tuple[Category, ...], counts: list[int]) -> list[Bar]:
    """The classes that occur: in their own order, or the most frequent first where there are many."""
    result = [(category, n) for category, n in zip(categories, counts, strict=True) if n]
    if len(result) > _MOST_LINES:
        result.sort(key=lambda pair: (-pair[1], pair[0].code))
    most, total = max((n for _, n in result), default=1), sum(n for _, n in result) or 1
    return [Bar(category.name, n, n / most, n / total, category.colour) for category, n in result]


def _legends(corpus: Corpus, cards: list[report_chips.Card]) -> list[tuple[str, str, list[Category]]]:
    """For each modality drawn as classes, the classes in the gallery."""
    codes: dict[str, set[int]] = {}
    for tile in (tile for card in cards for tile in card.tiles):
        codes.setdefault(tile.modality, set()).update(tile.present)
    drawn = [item for name, item in sorted(corpus.modalities.items()) if item.categories and codes.get(name)]
    return [(item.name, item.title, [cat for cat in item.categories if cat.code in codes[item.name]]) for item in drawn]
