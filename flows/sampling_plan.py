"""The settings of sampling, translated into the sampler's own types."""

from __future__ import annotations

from pathlib import Path

from exporters.anchor.regions import read_regions
from exporters.earth_engine.client import EarthEngine
from flows.region_file import region_file
from flows.settings import Settings
from pipeline.errors import Fatal
from pipeline.grid import LATTICE_M
from sampling.allocation import Allocation, allocate
from sampling.area_bands import AreaBandSplits
from sampling.constraints import Constraints, half_gap_m
from sampling.discs import read_discs
from sampling.draw import draw
from sampling.exclusion import read_exclusion
from sampling.point_sample import sample_points
from sampling.points import read_lonlat, read_points
from sampling.regions import Regions, prepare_areas, prepare_regions, read_vector
from sampling.sample import Sample, sample_of
from sampling.settled import Settled
from sampling.splits import BandSplits, CellSplits, SplitRule
from sampling.tiles import draw_tiles
from sampling.weights import BIOMES, BIOMES_EQUAL, ECOREGIONS, Weights, weigh

TILES = "tiles"
_NOWHERE = Settled()
_NEED_BIOMES = (BIOMES, BIOMES_EQUAL)


def needs_engine(settings: Settings) -> bool:
    """Whether the regions are a table of Earth Engine, and not a file."""
    return bool(settings.sampling.regions) and not Path(settings.sampling.regions).suffix


def split_rule(settings: Settings) -> SplitRule:
    """The split rule of the settings: cells, bands, or bands for each area.

    Raises `Fatal` for fractions that do not fit the rule.

    Which cells go to which split depends on the buffer as well, so that the fractions are those of the places.
    """
    split = settings.split
    fractions = (split.train, split.val, split.test)
    if split.areas:
        return AreaBandSplits(
            tuple(BandSplits(fractions, area.extent, split.bands, area.angle_rad) for area in split.areas)
        )
    if split.by == "bands":
        return BandSplits(fractions, split.extent, split.bands, split.angle_rad)
    gap_m = half_gap_m(split.buffer_m, settings.corpus.size_px * LATTICE_M) if split.buffer_m else 0.0
    return CellSplits(fractions, settings.corpus.seed, split.cell_deg, gap_m)


def constraints(settings: Settings, settled: Settled = _NOWHERE) -> Constraints:
    """The constraints on every location. Raises `Fatal` for a file of excluded footprints that cannot be used."""
    sampling, side_m = settings.sampling, settings.corpus.size_px * LATTICE_M
    exclusion = read_exclusion(sampling.exclude, sampling.exclude_buffer_m, side_m)
    may_overlap = sampling.overlap == "allow"
    return Constraints(side_m, may_overlap, exclusion, split_rule(settings), settings.split.buffer_m, settled)


def refuse_unusable_files(settings: Settings) -> None:
    """Read the owner's files before anything is asked for and kept. Raises `Fatal` for one that cannot be used."""
    constraints(settings)
    if settings.sampling.points is not None:
        read_lonlat(settings.sampling.points)


def regions(settings: Settings, engine: EarthEngine | None, cache: Path) -> Regions | None:
    """The regions to draw from; None when points are taken as they are and no regions are set.

    `cache` keeps a table that was read from Earth Engine. Raises `Fatal` for a file or a table that cannot be used.
    """
    sampling = settings.sampling
    if sampling.points is not None and sampling.radius_km is not None:
        return read_discs(sampling.points, sampling.radius_km)
    prepare = prepare_regions if sampling.strategy in _NEED_BIOMES or sampling.points else prepare_areas
    if Path(sampling.regions).suffix:
        return prepare(read_vector(region_file(sampling.regions)), sampling.regions, sampling.column)
    if engine is None or settings.uses_files or not sampling.regions:
        return None
    return prepare(read_regions(engine, sampling.regions, cache), sampling.regions, sampling.column)


def weights(settings: Settings, regions: Regions) -> Weights:
    """The weights of the strategy; discs around points have equal weights. Raises `Fatal` as `weigh` does."""
    sampling = settings.sampling
    strategy = ECOREGIONS if sampling.points is not None else sampling.strategy
    return weigh(regions, strategy, sampling.column, sampling.weights)


def sample(settings: Settings, regions: Regions | None, settled: Settled = _NOWHERE) -> Sample:
    """Candidates for every stratum, in their order, that are added to the places which are settled.

    Raises `Fatal` when no regions are set, or when they have no room for the locations.
    """
    sampling, seed, terms = settings.sampling, settings.corpus.seed, constraints(settings, settled)
    if sampling.points is not None and sampling.radius_km is None:
        return sample_points(read_points(sampling.points), regions, terms, split_rule(settings))
    if regions is None:
        raise Fatal("sampling needs regions; set sampling.regions to a table of Earth Engine or a vector file.")
    if sampling.strategy == TILES:
        drawn = draw_tiles(regions, sampling.locations, seed, terms, sampling.overdraw)
    else:
        shares = weights(settings, regions)
        drawn = draw(regions, shares, sampling.locations, seed, terms, sampling.overdraw)
    return sample_of(regions, drawn, split_rule(settings))


def allocation(settings: Settings, regions: Regions | None, settled: Settled = _NOWHERE) -> Allocation:
    """The quotas before any location is drawn; they ignore full strata, excluded footprints and buffers.

    Places that are not drawn, but are there (points of a table, tiles), are counted as they are; so are those that are
    added to settled ones.

    Raises `Fatal` as `sample` does.
    """
    own_points = settings.sampling.points is not None and settings.sampling.radius_km is None
    if own_points or regions is None or settings.sampling.strategy == TILES or len(settled):
        return sample(settings, regions, settled).allocation
    return allocate(regions, settings.sampling.locations, weights(settings, regions))
