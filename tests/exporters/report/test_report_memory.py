"""A report of many chips: its memory does not follow their number, and its map shows where they are dense."""

import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from exporters.report import map as report_map
from exporters.report.facts import per_biome
from exporters.report.map import MOST_POINTS, on_page, world_map
from exporters.report.report import render
from pipeline.corpus import Corpus
from pipeline.manifest import COLUMNS, Manifest
from tests.exporters.report_corpus import make_manifest

# What is kept of a chip: its centre, its split, and a few numbers while they are counted.
MOST_BYTES_A_CHIP = 250


def many(folder: Path, count: int) -> Manifest:
    """Tiles of one UTM zone without gaps, the last tenth of the columns for val; left in their file."""
    folder.mkdir()
    number = np.arange(count)
    row, column = np.divmod(number, int(np.ceil(np.sqrt(count))))
    few = make_manifest(folder, 140, 128, 14).frame[list(COLUMNS)]
    frame = few.iloc[number % len(few)].reset_index(drop=True)
    frame["id"], frame["anchor_id"] = [f"{each:013x}" for each in number], [f"A/{each}" for each in number]
    frame["crs"], frame["origin_x_m"], frame["origin_y_m"] = "EPSG:32631", 300_000.0 + 1280 * column, 1280.0 * row
    frame["split"] = np.where(column < 0.9 * column.max(), "train", "val")
    Manifest.of_frame(frame).write(folder / "manifest.parquet")
    return Manifest.read(folder / "manifest.parquet")


def peak_bytes(manifest: Manifest, folder: Path) -> int:
    """Python's and NumPy's memory while the page is made."""
    corpus = Corpus.create(folder, [], 512, manifest=manifest)
    tracemalloc.start()
    render(corpus, [], 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_a_chip_more_costs_a_few_bytes(tmp_path: Path) -> None:
    few, more = 20_000, 50_000
    peaks = [peak_bytes(many(tmp_path / str(count), count), tmp_path / str(count)) for count in (few, more)]
    assert (peaks[1] - peaks[0]) / (more - few) < MOST_BYTES_A_CHIP


def dots(page: str) -> list[tuple[str, float, str]]:
    """Colour, width and path of every group of dots."""
    found = re.findall(r'<path class="dots" stroke="(#[0-9a-f]+)" stroke-width="([\d.]+)" d="([^"]*)"', page)
    return [(colour, float(width), path) for colour, width, path in found]


def test_many_chips_become_a_dot_a_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each chip lies in the cell of the dot that counts it; the biggest dots are where chips are dense."""
    monkeypatch.setattr(report_map, "MOST_POINTS", 100)
    manifest = make_manifest(tmp_path, 300, 32, 3)
    page = world_map(tmp_path, manifest, per_biome(manifest))
    groups = dots(page)
    places = [place for *_, path in groups for place in re.findall(r"M([-\d.]+),([-\d.]+)", path)]
    drawn = np.array(places, dtype=float)
    chips = on_page(np.column_stack([manifest.column("lon"), manifest.column("lat")]))
    offsets = np.abs(chips[:, None] - drawn[None])
    inside = (offsets[..., 0] <= 2.06) & (offsets[..., 1] <= 1.79)  # half a cell, and the rounding of what is drawn
    assert inside.any(axis=1).all() and inside.any(axis=0).all() and len(drawn) <= len(manifest)
    assert {colour for colour, *_ in groups} == {report_map.colour_of(number) for number in (1, 2, 3)}


def test_a_map_of_the_whole_earth_is_small(tmp_path: Path) -> None:
    """A chip in every cell, ten times as many in some: large dots are dense places."""
    columns, rows = np.meshgrid(np.arange(-179, 180, 1.1), np.arange(-89, 90, 1.1))
    lonlat = np.column_stack([columns.ravel(), rows.ravel()])
    lonlat = np.concatenate([lonlat, np.repeat(lonlat[:100], 10, axis=0)])
    frame = make_manifest(tmp_path, 1, 32, 1).frame[list(COLUMNS)].iloc[np.zeros(len(lonlat), dtype=int)]
    manifest = Manifest.of_frame(frame.assign(lon=lonlat[:, 0], lat=lonlat[:, 1]))
    assert len(manifest) > MOST_POINTS
    page = world_map(tmp_path, manifest, per_biome(manifest))
    widths = [width for _, width, _ in dots(page)]
    assert len(page) < 600_000 and "halo" not in page
    assert max(widths) == 4.0 and 0 < min(widths) < 2
