"""A small corpus with a layer of every kind and style, smooth enough to look at, for tests of the report."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from shapely import box

from exporters.quality.inspection import inspect
from pipeline.chip import Acquisition, Chip, Scene
from pipeline.corpus import Corpus
from pipeline.grid import Grid, utm_crs
from pipeline.location import Location, location_id
from pipeline.manifest import Manifest
from pipeline.modality import Band, Category, Display, Modality

DAY_MS = 86_400_000
PHOTO = Modality(
    name="photo", title="True colour <image> & more", dtype="uint16", nodata=0, scale=1e-4, resampling="bilinear",
    bands=tuple(Band(name, "1", f"reflectance in {name}") for name in ("blue", "green", "red", "infrared")),
    valid_range=(1, 20000), statistics_by="level", display=Display("rgb", ("red", "green", "blue"), 0.0, 0.3),
)  # fmt: skip
ECHO = Modality(
    name="echo", title="Radar backscatter", bands=(Band("up", "dB"), Band("down", "dB")), dtype="int16",
    nodata=-32768, scale=0.01, valid_range=(-5000, 2000), display=Display("grey", ("up", "down"), -25.0, 0.0),
)  # fmt: skip
RELIEF = Modality(
    name="relief", title="Elevation", bands=(Band("height", "m"),), dtype="int16", nodata=-32768,
    valid_range=(-500, 9000), display=Display("hillshade", ("height",), 0.0, 4000.0),
)  # fmt: skip
COVER = Modality(
    name="cover", title="Land cover", bands=(Band("class"),), dtype="uint8", nodata=255, display=Display("classes"),
    categories=(
        Category(10, "Tree cover", "#006400"), Category(30, "Grassland", "#ffff4c"), Category(40, "Crops", "#f096ff"),
        Category(80, "Water", "#0064c8"),
    ),
)  # fmt: skip
PLAIN = Modality("plain", "A layer without a style", (Band("share", "percent"),), "uint8", 255, valid_range=(0, 100))
WEATHER = Modality(
    name="weather", title="Climate of the year", extent="image", dtype="float32", nodata=float("nan"),
    bands=tuple(Band(f"temperature_{n}", "K") for n in range(4)) + tuple(Band(f"rain_{n}", "m") for n in range(2)),
)  # fmt: skip
SEASON = Modality(
    name="season", title="Season", bands=(Band("name"),), dtype="uint8", nodata=0, extent="image",
    categories=(Category(1, "Wet season", "#3377aa"), Category(2, "Dry season", "#ddaa55")),
)  # fmt: skip
LAYERS = (PHOTO, ECHO, RELIEF, COVER, PLAIN, WEATHER, SEASON)
REASON = "no ascending pass within 30 days <of the anchor>"


def make_chip(number: int, lonlat: tuple[float, float], size_px: int, biome: int) -> Chip:
    """A chip whose scene and level follow from its number; biome 0 is a point of which no region is known."""
    region = (f"Biome {biome}", biome, f"Forest & steppe of region {biome}", "Realm") if biome else ()
    location = Location(location_id(*lonlat), *lonlat, f"eco-{biome:03d}", biome, *region)
    scene = Scene.at_ms(f"A/{number}", 1.4865e12 + number * 29 * DAY_MS)
    acquisition = Acquisition(scene, "l2a" if number % 3 else "l1c")
    split = "val" if number % 5 == 0 else "train"
    return Chip(location, Grid.around(lonlat, utm_crs(lonlat), size_px), acquisition, split)


def make_manifest(folder: Path, count: int, size_px: int, biomes: int) -> Manifest:
    """Chips of the first `biomes` biomes in turn, spread over the globe."""
    random = np.random.default_rng(0)
    lonlats = [(float(random.uniform(-179, 179)), float(random.uniform(-60, 75))) for _ in range(count)]
    numbers = [1 + number % biomes if biomes else 0 for number in range(count)]
    chips = [make_chip(number, lonlats[number], size_px, biome) for number, biome in enumerate(numbers)]
    manifest = Manifest.freeze(chips, 0)
    manifest.write(folder / "manifest.parquet")
    return manifest


def field(random: np.random.Generator, size_px: int) -> np.ndarray:
    """A smooth random field (size_px, size_px) from 0 to 1."""
    y, x = np.mgrid[:size_px, :size_px] / size_px * 2 * np.pi
    total = np.zeros((size_px, size_px))
    for octave in range(1, 7):
        angle, phase = random.uniform(0, 2 * np.pi, 2)
        wave = octave * (x * np.cos(angle) + y * np.sin(angle)) + 2 * np.sin(octave * y / 2 + phase)
        total += np.sin(wave + phase) / octave
    return np.asarray((total - total.min()) / np.ptp(total))


def make_values(modality: Modality, size_px: int, random: np.random.Generator) -> np.ndarray:
    """One chip of legal stored values."""
    if modality.extent == "image":
        if modality.categories:
            return random.choice(modality.codes, len(modality.bands)).astype(modality.dtype)
        return np.array([random.normal(285, 8) if b.units == "K" else random.gamma(2, 0.4) for b in modality.bands],
                        dtype=modality.dtype)  # fmt: skip
    height = field(random, size_px)
    grain = random.normal(0, 0.03, (len(modality.bands), size_px, size_px))
    if modality.categories:
        codes = np.asarray(modality.codes)
        return codes[np.minimum((height * len(codes)).astype(int), len(codes) - 1)][None].astype(modality.dtype)
    low, high = {"photo": (300, 2600), "echo": (-2200, -400), "relief": (100, 1600), "plain": (0, 100)}[modality.name]
    noise = grain * (modality is not RELIEF)
    least, most = modality.valid_range or (low, high)
    return np.clip(low + (high - low) * (height + noise), least, most).astype(modality.dtype)


def make_block(corpus: Corpus, modality: Modality, rows: range) -> tuple[np.ndarray, dict[int, str]]:
    """A shard's block with a hole in some chips, and one row in six missing from some layers."""
    size_px = corpus.manifest.size_px
    blocks, missing = [], {}
    for row in rows:
        random = np.random.default_rng([row, len(modality.name)])
        values = make_values(modality, size_px, random)
        if modality.extent == "pixel" and row % 4 == 1:
            values[:, size_px // 2 :, : size_px // 3] = modality.fill
        if modality in (ECHO, COVER, WEATHER) and row % 6 == 2:
            values[:], missing[row] = modality.fill, REASON
        if modality is ECHO and row % 6 == 3:
            values[0] = modality.fill
        blocks.append(values)
    return np.stack(blocks), missing


def make_corpus(
    folder: Path, count: int = 20, size_px: int = 32, unfinished: int = 0, biomes: int = 8, store_url: str | None = None
) -> Corpus:
    """A corpus in shards of 8 rows; the last `unfinished` shards of `echo` and `season` are not written."""
    folder.mkdir(parents=True, exist_ok=True)
    make_manifest(folder, count, size_px, biomes)
    corpus = Corpus.create(folder, LAYERS, shard_rows=8, store_url=store_url)
    for shard in corpus.shards:
        late = (ECHO, SEASON) if shard.index >= len(corpus.shards) - unfinished else ()
        made = {item.name: make_block(corpus, item, shard.rows) for item in LAYERS if item not in late}
        blocks, missing = ({name: pair[part] for name, pair in made.items()} for part in (0, 1))
        result = inspect(corpus, shard, blocks, missing)
        for name in made:
            corpus.write(shard, name, blocks[name], missing[name], result[name])
    return corpus


def add_neighbours(folder: Path) -> None:
    """The files of the earlier stages that the report shows: regions and rejected candidates."""
    regions = {"ECO_NAME": ["a", "b"], "BIOME_NUM": [1, 12], "BIOME_NAME": ["x", "y"], "ECO_ID": [1, 2]}
    frame = gpd.GeoDataFrame(regions, geometry=[box(-60, -20, -40, 5), box(0, 35, 30, 45)], crs="EPSG:4326")
    frame.to_parquet(folder / "regions.parquet")
    rejected = {"location": ["p", "q", "r"], "stratum": ["eco-001", "eco-001", "eco-009"]}
    pd.DataFrame(rejected | {"reason": ["no clear scene", "no clear scene", "<ocean>"]}).to_parquet(
        folder / "rejected.parquet"
    )
