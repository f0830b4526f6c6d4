"""A corpus from files in place of Earth Engine: its chips, its splits and its layers, as the stages need them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from exporters.files.chip_table import ChipTable, one_table, read_chips, write_chips
from exporters.files.file_layer import FILES_OF, ColumnLayer, FileLayer, with_source
from exporters.files.listing import Listing, found_files, listed_in_items, listed_in_table
from exporters.files.survey import Survey
from exporters.sources import Local
from flows.closing import Closing
from flows.growth import REJECTED
from flows.sampling_plan import split_rule
from flows.settings import Settings
from pipeline import durable
from pipeline.corpus_folder import LOCATIONS
from pipeline.errors import Fatal, unknown_name
from pipeline.layout import is_taken
from pipeline.modality import Modality
from pipeline.progress import Progress
from pipeline.rows import GatheredRows, Source
from sampling.own_names import kept_names
from sampling.own_table import OwnTable
from sampling.split_gap import too_near

LAYERS = "layers.json"  # the specifications, as the first files gave them


def choose(settings: Settings, progress: Progress) -> None:
    """Look at all files: `rejected.parquet`, `layers.json`, and the chips in `locations.parquet` (last).

    Raises `Fatal` for what does not fit the description; nothing is written then.
    """
    survey, chips, table = _surveyed(settings, progress)
    settings.save()
    _write_rejected(settings.folder, chips.rejected)
    specifications = {name: modality.specification() for name, modality in survey.modalities.items()}
    durable.write_json(settings.folder / LAYERS, {"layers": specifications, "columns": chips.names})
    write_chips(settings.folder / LOCATIONS, table)
    _say(table, chips, settings, progress)


def _surveyed(settings: Settings, progress: Progress) -> tuple[Survey, ChipTable, pa.Table]:
    _refuse_reserved(settings)
    listing = _listing(settings)
    progress.start("sample", len(listing))
    survey = Survey(listing, settings.files, settings.layers, settings.corpus.size_px)
    chips = ChipTable(listing, _kept(listing), settings.files.level)
    table = one_table(_counted(chips, survey, progress), chips)
    if not len(table):
        raise Fatal(f"none of {len(listing)} places has a chip: {chips.rejected[0][1]}; correct the description.")
    return survey, chips, table


def outlook(settings: Settings, progress: Progress) -> str:
    """What the files would give, as lines; all of them are looked at, and nothing is written. Raises as `choose`."""
    survey, chips, table = _surveyed(settings, progress)
    size_px, layers = settings.corpus.size_px, survey.modalities.values()
    raw = len(table) * sum(math.prod(layer.shape(size_px)) * np.dtype(layer.dtype).itemsize for layer in layers)
    lines = [
        f"places           {len(chips.listing):,}, {len(chips.rejected):,} of them without chips",
        f"chips            {len(table):,} of {size_px} px; {chips.cut_away:.0%} of the places' pixels are in none",
        *(
            f"{layer.name:<16} {layer.dtype}, {len(layer.bands)} bands, {len(layer.categories)} classes"
            for layer in layers
        ),
        f"uncompressed     {raw / 1e9:,.3g} GB",
        "Nothing was written.",
    ]
    return Closing.of("\n".join(lines), done=lines[-1], chips=len(table), bytes=raw)


def _refuse_reserved(settings: Settings) -> None:
    taken = next((name for name in settings.layers if is_taken(name)), None)
    if taken:
        raise Fatal(f"a layer cannot be called {taken!r}: the store uses that name; choose another.")
    for name, layer in settings.layers.items():
        if layer.assets and not settings.files.items:
            raise Fatal(f"layer {name!r} has assets, and there are no STAC items; give files.items.")


def refuse_unreachable(settings: Settings, others: Sequence[Modality]) -> None:
    """Raise `Fatal` for a layer beside those of files that Earth Engine would have to give, and for a cluster."""
    asking = next((layer for layer in others if not isinstance(layer.source, Local)), None)
    if asking is not None:
        raise Fatal(
            f"modality {asking.name!r} comes from Earth Engine, and this corpus from files; leave it out of "
            "corpus.modalities, or describe files of it in [layers]."
        )
    if settings.cluster.kind != "none":
        raise Fatal('files are read in this process; leave cluster.kind = "none".')


def _listing(settings: Settings) -> Listing:
    files, layers = settings.files, settings.layers
    if files.items:
        listing = listed_in_items(files, layers)
    elif files.table:
        listing = listed_in_table(files, layers, OwnTable.read(files.table).columns)
    else:
        listing = found_files(files, layers)
    for layer in layers.values():
        if layer.column and layer.column not in listing.columns:
            raise unknown_name("column of the places", layer.column, listing.columns)
    return listing


def _kept(listing: Listing) -> dict[str, str]:
    return kept_names([*(f"{FILES_OF}{name}" for name in listing.files), *listing.columns])


def _counted(chips: ChipTable, survey: Survey, progress: Progress) -> Iterator[pa.Table]:
    before = 0
    for table in chips.tables(survey):
        yield table
        progress.advance(survey.seen - before)
        before = survey.seen


def _write_rejected(folder: Path, rejected: list[tuple[str, str]]) -> None:
    table = pa.table({"id": [name for name, _ in rejected], "stratum": [""] * len(rejected),
                      "reason": [reason for _, reason in rejected]},
                     schema=pa.schema([(name, pa.string()) for name in ("id", "stratum", "reason")]))  # fmt: skip
    durable.publish(folder / REJECTED, lambda temporary: pq.write_table(table, temporary))


def _say(table: pa.Table, chips: ChipTable, settings: Settings, progress: Progress) -> None:
    if chips.rejected:
        progress.say(f"{len(chips.rejected)} places have no chips, and {settings.folder / REJECTED} says why.")
    places = len(chips.listing) - len(chips.rejected)
    if len(table) != places or chips.cut_away:
        progress.say(
            f"{places} places are cut into {len(table)} chips of {settings.corpus.size_px} px; "
            f"{chips.cut_away:.0%} of their pixels, at edges, are in none."
        )


def rows(settings: Settings, progress: Progress) -> GatheredRows:
    """The chips as rows of a manifest, each with its split; those too near to another split are left out.

    Raises `Fatal` when the table of `choose` is absent or damaged.
    """
    table = read_chips(settings.folder / LOCATIONS)
    lonlat = np.column_stack([np.asarray(table.column(name)) for name in ("lon", "lat")])
    said = np.asarray(table.column("split").to_pylist(), dtype=object)
    split = np.where(said == None, split_rule(settings).of(lonlat), said).astype(str)  # noqa: E711 - of an array
    reach_m = settings.split.buffer_m + _diagonal_m(table)
    left_out = _left_out(lonlat, split, said, reach_m if settings.split.buffer_m else 0.0)
    if left_out.any():
        _reject(settings, table, left_out)
        progress.say(
            f"{left_out.sum()} chips are nearer than split.buffer_m = {settings.split.buffer_m:g} m to chips of "
            f"another split and are left out; {settings.folder / REJECTED} lists them."
        )
    index = table.schema.get_field_index("split")
    table = table.set_column(index, table.schema.field("split"), pa.array(split, pa.string()))
    return GatheredRows([Source(table, np.flatnonzero(~left_out))], table.schema)


def _diagonal_m(table: pa.Table) -> float:
    """From the middle of a chip to its corner, of two chips."""
    first = table.slice(0, 1).to_pylist()[0]
    return float(np.sqrt(2) * first["resolution_m"] * first["width_px"])


def _left_out(
    lonlat: NDArray[np.float64], split: NDArray[np.str_], said: NDArray[Any], reach_m: float
) -> NDArray[np.bool_]:
    """Chips (n,) of train near to val or test, and of val near to test; never one whose split its owner has given."""
    left_out = np.zeros(len(lonlat), dtype=bool)
    free = np.asarray([value is None for value in said])
    if not reach_m or not free.any():
        return left_out
    for less, more in (("val", ("test",)), ("train", ("val", "test"))):
        mine, theirs = np.flatnonzero((split == less) & free), np.flatnonzero(np.isin(split, more) & ~left_out)
        left_out[mine[too_near(lonlat[mine], lonlat[theirs], reach_m)]] = True
    return left_out


def _reject(settings: Settings, table: pa.Table, left_out: NDArray[np.bool_]) -> None:
    before = pq.read_table(settings.folder / REJECTED)
    ids = table.filter(pa.array(left_out)).column("id").to_pylist()
    known = list(zip(before.column("id").to_pylist(), before.column("reason").to_pylist(), strict=True))
    new = [(one, "it is too near to chips of another split") for one in ids]
    _write_rejected(settings.folder, list(dict.fromkeys((*known, *new))))


def layers(settings: Settings) -> list[Modality]:
    """The layers of the corpus with their sources. Raises `Fatal` when `choose` has not been run."""
    path = settings.folder / LAYERS
    if not path.exists():
        raise Fatal(f"{path} does not exist; run `geocorpus sample` first.")
    kept = durable.read_as(path, dict[str, dict[str, Any]], "delete it with locations.parquet, and sample again")
    known = {name: Modality.from_specification(kept["layers"][name]) for name in settings.layers}
    return [_read_by(settings, modality, kept["columns"]) for modality in known.values()]


def _read_by(settings: Settings, modality: Modality, columns: Mapping[str, str]) -> Modality:
    """The layer with its source; `columns` says how the manifest calls those of the places."""
    said = settings.layers[modality.name]
    reader = ColumnLayer(modality, columns[said.column]) if said.column else FileLayer(modality, said, settings.files)
    return with_source(reader, said)
