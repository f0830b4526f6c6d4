"""The corpus: one Zarr v3 array per modality, written a whole shard at a time, with a manifest and a ledger."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import MemoryStore

from pipeline import durable, sharding, statistics
from pipeline.compression import compressor
from pipeline.errors import Fatal, unknown_name
from pipeline.ledger import Entry, Ledger, Mark
from pipeline.manifest import Manifest
from pipeline.modality import Modality
from pipeline.shard import Shard
from pipeline.sharding import ChipCodec
from pipeline.sizes import SHARD_ROWS
from pipeline.store import METADATA, Store
from pipeline.store_url import store_at

STORE = "corpus.zarr"
MANIFEST = "manifest.parquet"
LEDGER = "ledger"
STATISTICS = "statistics.json"
PLACE = "store.json"  # holds the URL of the store if that is not in the folder
FORMAT_VERSION = 1
ABSENT = "absent"  # in place of the digest of a shard that is all nodata, for which Zarr writes no object
_RESERVED = ("chip", "longitude", "latitude", "time", "level", "split")


class Corpus:
    """A folder with `corpus.zarr`, `manifest.parquet` and `ledger/`, made by `create` and opened by `open`.

    The arrays may be on another disk or in a bucket; `store.json` in the folder then holds their URL.
    """

    def __init__(self, folder: Path, manifest: Manifest, shard_rows: int, store: Store) -> None:
        self.folder = folder
        self.store = store
        self.manifest = manifest
        self.shard_rows = shard_rows
        self.ledger = Ledger(folder / LEDGER)
        self._finished: dict[str, frozenset[int]] = {}
        self._codecs: dict[str, ChipCodec | None] = {}

    @classmethod
    def create(
        cls,
        folder: Path,
        modalities: Iterable[Modality],
        shard_rows: int = SHARD_ROWS,
        store_url: str | None = None,
        manifest: Manifest | None = None,
    ) -> Self:
        """Create the empty store for the manifest in `folder`, with the metadata of every array.

        `store_url` is a path, `s3://bucket/prefix` or `gs://bucket/prefix`; None is the store that the corpus has, or
        `corpus.zarr` in the folder. `manifest` is that of `folder`, if it is read already. Another call with the same
        arguments changes nothing; with more modalities it adds their arrays. Raises `Fatal` when the store belongs to
        another manifest, shard size or specification, or may not be written, and `Transient` when it does not answer.
        """
        corpus = cls(folder, manifest or Manifest.read(folder / MANIFEST), shard_rows, place_of(folder, store_url))
        corpus.store.check()
        if corpus.store.exists:
            corpus._refuse_other()
        else:
            corpus.store.adopt(_objects(corpus._lay_out))
        if corpus.store.url != str(folder / STORE):
            durable.write_json(folder / PLACE, {"store": corpus.store.url})
        for modality in modalities:
            corpus.add(modality)
        return corpus

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open an existing corpus; raises `Fatal` when there is none or it belongs to another manifest."""
        store = place_of(folder)
        if not store.exists:
            raise Fatal(f"there is no corpus in {folder}; run `geocorpus export` first, or check the path.")
        corpus = cls(folder, Manifest.read(folder / MANIFEST), 0, store)
        corpus.shard_rows = int(corpus._group_attributes().get("shard_rows", 0))
        corpus._refuse_other()
        return corpus

    def __reduce__(self) -> tuple[Any, ...]:
        """By its folder: another process opens the corpus itself, as neither files nor connections travel."""
        return type(self).open, (self.folder.absolute(),)

    def _lay_out(self, group: zarr.Group) -> None:
        """Create the attributes and the coordinates."""
        group.update_attributes(self._attributes())
        for name, values, attributes in _coordinates(self.manifest):
            array = group.create_array(
                name, shape=values.shape, dtype=values.dtype, chunks=(max(1, min(len(values), 65536)),),
                dimension_names=("chip",), attributes=attributes,
            )  # fmt: skip
            array[:] = values

    def _attributes(self) -> dict[str, Any]:
        return {
            "Conventions": "CF-1.11",
            "title": "geocorpus",
            "coordinates": "longitude latitude time level split",
            "format_version": FORMAT_VERSION,
            "manifest_digest": self.manifest.digest,
            "shard_rows": self.shard_rows,
        }

    def _group_attributes(self) -> dict[str, Any]:
        return dict(self._metadata("")["attributes"])

    def _metadata(self, name: str) -> dict[str, Any]:
        """Zarr's metadata of an array, or of the whole store; raises `Fatal` when it is absent or damaged."""
        key = f"{name}/{METADATA}".lstrip("/")
        try:
            return dict(json.loads(self.store.get(key) or b""))
        except ValueError as error:
            raise Fatal(f"{self.store.url}/{key} is absent or damaged ({error}); restore it from a copy.") from error

    def _refuse_other(self) -> None:
        attributes = self._group_attributes()
        if attributes.get("manifest_digest") != self.manifest.digest:
            raise Fatal(
                f"the store in {self.store.url} belongs to another manifest; use another folder, "
                "or put the manifest it was made from back."
            )
        if attributes.get("shard_rows") != self.shard_rows:
            raise Fatal(
                f"the store in {self.store.url} has {attributes.get('shard_rows')} rows a shard, "
                f"not {self.shard_rows}; keep corpus.shard_rows as it was."
            )

    def add(self, modality: Modality) -> None:
        """Add the empty array of `modality`; existing arrays are not touched.

        Raises `Fatal` when the name is reserved, or belongs to a modality with another specification.
        """
        if _is_reserved(modality.name):
            raise Fatal(f"a modality cannot be called {modality.name!r}: the store uses that name; choose another.")
        known = self._stored_modality(modality.name)
        if known is None:
            self._publish_array(modality)
        elif known != modality:
            raise Fatal(
                f"modality {modality.name!r} in {self.folder} was written with another specification; "
                "give the changed one another name."
            )

    def _stored_modality(self, name: str) -> Modality | None:
        if self.store.get(f"{name}/{METADATA}") is None:
            return None
        return Modality.from_specification(self._metadata(name)["attributes"]["geocorpus"])

    def _publish_array(self, modality: Modality) -> None:
        """Create the array in memory, then write only its new objects to the store, the array's metadata last."""
        objects = _objects(partial(self._create_array, modality=modality))
        del objects[METADATA]
        for key in sorted(objects, key=lambda key: key == f"{modality.name}/{METADATA}"):
            self.store.put(key, objects[key])

    def _create_array(self, group: zarr.Group, modality: Modality) -> None:
        self._create_band_names(group, modality)
        shape = modality.shape(self.manifest.size_px)
        rows = len(self.manifest)
        pixel = modality.extent == "pixel"
        group.create_array(
            modality.name,
            shape=(rows, *shape),
            chunks=(1 if pixel else self.shard_rows, *shape),
            shards=(self.shard_rows, *shape) if pixel else None,
            dtype=modality.dtype,
            fill_value=modality.fill,
            compressors=compressor(modality.dtype),
            dimension_names=_dimensions(modality),
            attributes=array_attributes(modality),
        )

    def _create_band_names(self, group: zarr.Group, modality: Modality) -> None:
        name = f"band_{modality.name}"
        names = np.array(modality.band_names, dtype=np.dtypes.StringDType())
        bands = group.create_array(name, shape=names.shape, dtype="string", chunks=names.shape, dimension_names=(name,))
        bands[:] = names

    @cached_property
    def modalities(self) -> dict[str, Modality]:
        """The layers of the store by name, from the specifications in their attributes.

        Raises `Fatal` when the metadata of an array is absent or damaged.
        """
        layers = [name for name in self.store.names() if not _is_reserved(name)]
        specifications = {name: self._metadata(name)["attributes"].get("geocorpus") for name in layers}
        return {name: Modality.from_specification(data) for name, data in specifications.items() if data}

    def modality(self, name: str) -> Modality:
        """The layer called `name`; raises `Fatal` with the nearest known name otherwise."""
        if name not in self.modalities:
            raise unknown_name("modality", name, self.modalities)
        return self.modalities[name]

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """All shards, by index."""
        return self.manifest.shards(self.shard_rows)

    def missing(self, names: Iterable[str] | None = None) -> dict[Shard, tuple[str, ...]]:
        """The unfinished shards, each with its modalities (all, or those in `names`) that have no valid ledger entry.

        Raises `Fatal` for a damaged entry.
        """
        wanted = list(self.modalities if names is None else names)
        done = {name: self.finished(name) for name in wanted}
        pending = {shard: tuple(name for name in wanted if shard.index not in done[name]) for shard in self.shards}
        return {shard: names for shard, names in pending.items() if names}

    def lacking(self, shard: Shard, names: Iterable[str]) -> tuple[str, ...]:
        """Those of `names` without a valid entry for this shard; reads the entries of this shard alone.

        Raises `Fatal` for a damaged entry.
        """
        return tuple(name for name in names if not self._valid_shards(self._marks_of(name, shard)))

    def _marks_of(self, name: str, shard: Shard) -> list[Mark]:
        return self.ledger.marks(name, [shard.index]) if self.ledger.path(name, shard.index).exists() else []

    def entries(self, name: str) -> Iterator[Entry]:
        """The valid ledger entries of a modality, ordered by shard; one is in memory at a time.

        Raises `Fatal` for a damaged entry.
        """
        return (self.ledger.read(name, index) for index in sorted(self.finished(name)))

    def finished(self, name: str) -> frozenset[int]:
        """Indices of the shards of a modality with a valid entry. An entry that was valid is not checked again.

        An entry of another manifest or specification is not valid. Neither is one whose object is absent, because the
        shard would read as nodata. Raises `Fatal` for a damaged entry.
        """
        marked = self.ledger.done(name)
        valid = self._finished.get(name, frozenset()) & marked
        valid |= self._valid_shards(self.ledger.marks(name, sorted(marked - valid)))
        self._finished[name] = valid
        return valid

    def _valid_shards(self, marks: Iterable[Mark]) -> frozenset[int]:
        matching = [mark for mark in marks if self._matches(mark)]
        keys = {mark.shard: self.object_key(mark.modality, self.shards[mark.shard]) for mark in matching}
        present = self.store.present(keys[mark.shard] for mark in matching if mark.digest != ABSENT)
        return frozenset(mark.shard for mark in matching if mark.digest == ABSENT or keys[mark.shard] in present)

    def _matches(self, mark: Mark) -> bool:
        """Whether a mark was written for this manifest and the stored specification."""
        digests = (self.manifest.digest, self.modality(mark.modality).digest)
        return (mark.manifest_digest, mark.modality_digest) == digests and mark.shard < len(self.shards)

    def write(
        self,
        shard: Shard,
        name: str,
        block: NDArray[Any],
        missing: Mapping[int, str],
        quality: Mapping[str, Any] | None = None,
        compressed: Mapping[int, bytes] | None = None,
    ) -> Entry:
        """Write the whole shard of one modality, make it durable, then mark it in the ledger.

        `block` is (rows of the shard, bands[, y, x]) in the stored dtype. `missing` maps manifest rows without any data
        to reasons. `quality` is JSON and stored unchanged. `compressed` maps manifest rows to chips of the block that
        `chip_codec` has compressed already. A shard must have a single writer. Raises `Fatal` for an unknown modality,
        a block of another shape or dtype, and a store that cannot be written to, and `Transient` when it does not
        answer.
        """
        modality = self.modality(name)
        _check_block(modality, shard, block, self.manifest.size_px)
        key = self.object_key(name, shard)
        digest = self.store.replace(key, self._encoded(modality, shard, block, compressed or {})) or ABSENT
        entry = Entry(
            shard.index, name, (shard.start, shard.stop), self.manifest.digest, modality.digest,
            digest, dict(missing), quality or {}, self._summarise(modality, shard, block),
        )  # fmt: skip
        self.ledger.mark(entry)
        return entry

    def _summarise(self, modality: Modality, shard: Shard, block: NDArray[Any]) -> statistics.Summary:
        train = self.manifest.column("split", shard.slice) == "train"
        column = modality.statistics_by
        values = self.manifest.column(column, shard.slice) if column else [statistics.EVERYTHING] * len(shard)
        groups = [str(value) if counts else None for value, counts in zip(values, train, strict=True)]
        return statistics.summarise(modality, block, groups)

    def chip_codec(self, name: str) -> ChipCodec | None:
        """The codec that compresses single chips of a modality; None if the store does not compress chips singly.

        Raises `Fatal` for an unknown modality, and when the array's metadata is absent.
        """
        if name not in self._codecs:
            self._codecs[name] = sharding.codec_of(self._array_metadata(name), self.modality(name).fill)
        return self._codecs[name]

    def _array_metadata(self, name: str) -> bytes:
        metadata = self.store.get(f"{name}/{METADATA}")
        if metadata is None:
            raise Fatal(f"{self.store.url}/{name} has lost its {METADATA}; restore it from a copy.")
        return metadata

    def _encoded(
        self, modality: Modality, shard: Shard, block: NDArray[Any], compressed: Mapping[int, bytes]
    ) -> list[bytes]:
        codec = self.chip_codec(modality.name)
        if codec is None:
            return sharding.by_zarr(self._array_metadata(modality.name), shard, block)
        chips = zip(shard.rows, block, strict=True)
        return codec.joined(compressed[row] if row in compressed else codec.compressed(chip) for row, chip in chips)

    def object_key(self, name: str, shard: Shard) -> str:
        """The key in the store of the object that holds one shard of one modality."""
        rest = ["0"] * len(self.modality(name).shape(1))
        return "/".join([name, "c", str(shard.index), *rest])

    def object_path(self, name: str, shard: Shard) -> Path:
        """The file that holds one shard of one modality; absent when the whole shard is nodata.

        Raises `Fatal` for a store that is in no folder (`corpus.store.folder` is None then).
        """
        if self.store.folder is None:
            raise Fatal(f"{self.store.url} has no files; read it through `Corpus.read`.")
        return self.store.folder / self.object_key(name, shard)

    def verify(self, name: str, shard: Shard) -> bool:
        """Whether the stored object has the digest in the ledger; raises `Fatal` when there is no such entry."""
        digest = self.store.digest(self.object_key(name, shard)) or ABSENT
        return digest == self.ledger.read(name, shard.index).digest

    def read(self, name: str, rows: slice) -> NDArray[Any]:
        """Values (rows, bands[, y, x]) in the stored dtype; raises `Fatal` if a shard of these rows is not finished.

        The check is needed because an absent shard would read as nodata, without an error.
        """
        touched = range(rows.start // self.shard_rows, (rows.stop - 1) // self.shard_rows + 1)
        pending = set(touched) - self.finished(name)
        if pending:
            raise Fatal(f"shard {min(pending)} of {name!r} in {self.folder} is not finished; run `geocorpus export`.")
        with self.store.reading():
            return np.asarray(zarr.open_array(self.store.zarr(read_only=True), path=name, mode="r")[rows])

    def statistics(self, name: str) -> dict[str, list[statistics.BandStatistics]]:
        """Statistics of the train rows of a modality, per group and band, merged from the finished shards.

        Raises `Fatal` for a damaged ledger entry.
        """
        return statistics.merge(entry.summary for entry in self.entries(name))

    def finalize(self) -> None:
        """Publish `statistics.json` and consolidate the metadata, so that readers open the store with a single read.

        Raises `Fatal` when the folder or the store cannot be written to.
        """
        data = {name: statistics.to_dict(self.statistics(name)) for name in sorted(self.modalities)}
        durable.write_json(self.folder / STATISTICS, data)
        with warnings.catch_warnings():
            # The Zarr v3 specification has no consolidated metadata yet, but xarray and zarr-python read it.
            warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
            zarr.consolidate_metadata(self.store.zarr(read_only=False))


def _objects(build: Callable[[zarr.Group], None]) -> dict[str, memoryview]:
    """The objects of a group that `build` fills, by key, as zarr-python would store them."""
    buffers: dict[str, Any] = {}
    build(zarr.open_group(MemoryStore(buffers), mode="w"))
    return {key: memoryview(buffer.as_buffer_like()) for key, buffer in buffers.items()}


def place_of(folder: Path, url: str | None = None) -> Store:
    """The store of the corpus in `folder`: `url` for a new one, by default `corpus.zarr` in the folder.

    Raises `Fatal` when the corpus already has a store at another URL than `url`, and for a URL that cannot be used.
    """
    default, recorded = store_at(str(folder / STORE)), folder / PLACE
    known = store_at(durable.read_json(recorded)["store"]) if recorded.exists() else default
    requested = known if url is None else _absolute(store_at(url))
    if requested.folder and requested.folder == (folder / STORE).absolute():
        requested = default
    if requested.url != known.url and (recorded.exists() or known.exists):
        raise Fatal(
            f"the corpus in {folder} has its store at {known.url}, not at {requested.url}; keep corpus.store as it was "
            f"(a store that was moved is named in {recorded})."
        )
    return requested


def _absolute(store: Store) -> Store:
    """The store with an absolute path, which does not depend on the working folder."""
    return store_at(str(store.folder.absolute())) if store.folder else store


def array_attributes(modality: Modality) -> dict[str, Any]:
    """CF attributes, which xarray and GDAL understand, and the full specification under "geocorpus"."""
    attributes: dict[str, Any] = {"long_name": modality.title, "geocorpus": modality.specification()}
    units = {band.units for band in modality.bands}
    if len(units) == 1:
        attributes["units"] = units.pop()
    attributes["band_units"] = [band.units for band in modality.bands]
    if modality.categories:
        attributes["flag_values"] = list(modality.codes)
        attributes["flag_meanings"] = " ".join(_one_word(category.name) for category in modality.categories)
        attributes["flag_colours"] = [category.colour for category in modality.categories]
    attributes["_FillValue"] = _cf_fill(modality)
    if (modality.scale, modality.offset) != (1.0, 0.0):
        attributes |= {"scale_factor": modality.scale, "add_offset": modality.offset}
    return attributes


def _cf_fill(modality: Modality) -> Any:
    """`_FillValue` as xarray stores it; without it xarray would take nodata for data."""
    from xarray.backends.zarr import FillValueCoder  # here, as every command would wait for xarray

    return FillValueCoder.encode(modality.fill.item(), np.dtype(modality.dtype))


def _is_reserved(name: str) -> bool:
    return name in _RESERVED or name.startswith("band_")


def _one_word(name: str) -> str:
    return "_".join(name.replace("/", " ").replace(",", " ").split()).lower()


def _dimensions(modality: Modality) -> tuple[str, ...]:
    space = ("y", "x") if modality.extent == "pixel" else ()
    return ("chip", f"band_{modality.name}", *space)


def _coordinates(manifest: Manifest) -> list[tuple[str, NDArray[Any], dict[str, Any]]]:
    text = np.dtypes.StringDType()
    seconds = manifest.column("anchor_time").astype("datetime64[s]").astype(np.int64)
    return [
        ("chip", manifest.column("id").astype(text), {"long_name": "location id"}),
        ("longitude", manifest.column("lon").astype(np.float64), {"units": "degrees_east"}),
        ("latitude", manifest.column("lat").astype(np.float64), {"units": "degrees_north"}),
        ("time", seconds, {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian",
                           "long_name": "sensing time of the anchor scene"}),
        ("level", manifest.column("level").astype(text), {"long_name": "processing level of the anchor scene"}),
        ("split", manifest.column("split").astype(text), {"long_name": "train, val or test"}),
    ]  # fmt: skip


def _check_block(modality: Modality, shard: Shard, block: NDArray[Any], size_px: int) -> None:
    expected = (len(shard), *modality.shape(size_px))
    if block.shape != expected or block.dtype != np.dtype(modality.dtype):
        raise Fatal(
            f"shard {shard.index} of {modality.name!r} is {block.dtype} {block.shape}, "
            f"but the store holds {modality.dtype} {expected}."
        )


def empty_block(modality: Modality, rows: int, size_px: int) -> NDArray[Any]:
    """A block (rows, bands[, y, x]) in the modality's dtype, filled with nodata."""
    return np.full((rows, *modality.shape(size_px)), modality.fill, dtype=modality.dtype)
