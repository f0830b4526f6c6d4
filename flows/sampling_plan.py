"""The settings of sampling, translated into the sampler's own types."""

from __future__ import annotations

from pathlib import Path

from exporters.anchor.regions import read_regions
from exporters.earth_engine.client import EarthEngine
from flows.settings import Settings
from pipeline.errors import Fatal
from pipeline.grid import LATTICE_M
from sampling.allocation import Allocation, allocate, allocate_points
from sampling.constraints import Constraints
from sampling.discs import read_discs
from sampling.draw import draw
from sampling.exclusion import read_exclusion
from sampling.points import read_points
from sampling.regions import Regions, prepare_areas, prepare_regions, read_vector
from sampling.sample import Sample, sample_of, sample_points
from sampling.splits import BandSplits, CellSplits, SplitRule
from sampling.tiles import draw_tiles
from sampling.weights import BIOMES, BIOMES_EQUAL, ECOREGIONS, Weights, weigh

TILES = "tiles"
_NEED_BIOMES = (BIOMES, BIOMES_EQUAL)


def needs_engine(settings: Settings) -> bool:
    """Whether the regions are a table of Earth Engine, and not a file."""
    return bool(settings.sampling.regions) and not Path(settings.sampling.regions).suffix


def split_rule(settings: Settings) -> SplitRule:
    """The split rule of the settings: cells or bands. Raises `Fatal` for fractions that do not fit the rule."""
    split = settings.split
    fractions = (split.train, split.val, split.test)
    if split.by == "bands":
        return BandSplits(fractions, split.extent, split.bands, split.angle_rad)
    return CellSplits(fractions, settings.corpus.seed, split.cell_deg)


def constraints(settings: Settings) -> Constraints:
    """The constraints on every location. Raises `Fatal` for a file of excluded footprints that cannot be used."""
    sampling, side_m = settings.sampling, settings.corpus.size_px * LATTICE_M
    exclusion = read_exclusion(sampling.exclude, sampling.exclude_buffer_m, side_m)
    return Constraints(side_m, sampling.may_overlap, exclusion, split_rule(settings), settings.split.buffer_m)


def regions(settings: Settings, engine: EarthEngine | None, cache: Path) -> Regions | None:
    """The regions to draw from; None when points are taken as they are and no regions are set.

    `cache` keeps a table that was read from Earth Engine. Raises `Fatal` for a file or a table that cannot be used.
    """
    sampling = settings.sampling
    if sampling.points is not None and sampling.radius_km is not None:
        return read_discs(sampling.points, sampling.radius_km)
    prepare = prepare_regions if sampling.strategy in _NEED_BIOMES or sampling.points else prepare_areas
    if Path(sampling.regions).suffix:
        return prepare(read_vector(Path(sampling.regions)), sampling.regions, sampling.column)
    if engine is None or not sampling.regions:
        return None
    return prepare(read_regions(engine, sampling.regions, cache), sampling.regions, sampling.column)


def weights(settings: Settings, regions: Regions) -> Weights:
    """The weights of the strategy; discs around points have equal weights. Raises `Fatal` as `weigh` does."""
    sampling = settings.sampling
    strategy = ECOREGIONS if sampling.points is not None else sampling.strategy
    return weigh(regions, strategy, sampling.column, sampling.weights)


def sample(settings: Settings, regions: Regions | None) -> Sample:
    """Candidates for every stratum, in their order.

    Raises `Fatal` when no regions are set, or when they have no room for the locations.
    """
    sampling, seed = settings.sampling, settings.corpus.seed
    if sampling.points is not None and sampling.radius_km is None:
        return sample_points(read_points(sampling.points, regions), constraints(settings), split_rule(settings))
    if regions is None:
        raise Fatal("sampling needs regions; set sampling.regions to a table of Earth Engine or a vector file.")
    if sampling.strategy == TILES:
        drawn = draw_tiles(regions, sampling.locations, seed, constraints(settings), sampling.overdraw)
    else:
        shares = weights(settings, regions)
        drawn = draw(regions, shares, sampling.locations, seed, constraints(settings), sampling.overdraw)
    return sample_of(regions, drawn, split_rule(settings))


def allocation(settings: Settings, regions: Regions | None) -> Allocation:
    """The quotas before any location is drawn; they ignore full strata, excluded footprints and buffers.

    Raises `Fatal` as `sample` does.
    """
    if settings.sampling.points is not None and settings.sampling.radius_km is None:
        return allocate_points(read_points(settings.sampling.points, regions))
    if regions is None or settings.sampling.strategy == TILES:
        return sample(settings, regions).allocation
    return allocate(regions, settings.sampling.locations, weights(settings, regions))
