"""The object of a shard with checksums behind its chips, from the one without; or the row that is damaged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from pipeline.shard import Shard
from pipeline.shard_object import ShardObject
from pipeline.sharding import ChipCodec, crc32c
from pipeline.store import digest_of

Frames = list[bytes]  # what Blosc made of each chunk; no bytes for a chip that is all nodata


@dataclass(frozen=True)
class ChunkUpgrade(ABC):
    """Puts checksums behind the chunks of a layer; a chunk has `nbytes` when it is decoded."""

    nbytes: int

    def object(self, content: bytes, digest: str, shard: Shard) -> bytes:
        """The new object from the old one, or from itself; `digest` is what the ledger says of the one or the other.

        Raises `ValueError`, the end of a sentence, for an object that is neither.
        """
        frames = self._frames(np.frombuffer(content, np.uint8), shard)
        if digest not in (digest_of(content), digest_of(self._without(frames))):
            self._refuse_undecodable(frames, shard)
            raise ValueError("its digest is not the one in the ledger")
        return self._with(frames)

    def index_crc32c(self, content: bytes) -> str | None:
        """What the ledger keeps of a new object's index; None where there is none."""
        return None

    def _refuse_undecodable(self, frames: Frames, shard: Shard) -> None:
        scratch = np.empty(self.nbytes, np.uint8)
        for place, frame in enumerate(frames):
            try:
                if frame:
                    blosc.decompress(frame, scratch)
            except (RuntimeError, ValueError) as error:
                raise ValueError(f"row {shard.start + place} cannot be decoded") from error

    @abstractmethod
    def _frames(self, content: NDArray[np.uint8], shard: Shard) -> Frames: ...

    @abstractmethod
    def _without(self, frames: Frames) -> bytes: ...

    @abstractmethod
    def _with(self, frames: Frames) -> bytes: ...


@dataclass(frozen=True)
class ChipsUpgrade(ChunkUpgrade):
    """Of a layer of pixels: an object holds many chips, and their index. `codec` is the one without checksums."""

    codec: ChipCodec

    def index_crc32c(self, content: bytes) -> str | None:
        """See `ChunkUpgrade`."""
        return self.codec.index_crc32c([content])

    def _frames(self, content: NDArray[np.uint8], shard: Shard) -> Frames:
        stored = ShardObject.of(content, self.codec.shard_rows)
        return [self._frame(stored, place, shard) for place in range(len(stored.byte_ranges))]

    def _frame(self, stored: ShardObject, place: int, shard: Shard) -> bytes:
        try:
            frame = stored.frame(place, self.nbytes, checksums=False)
        except ValueError as error:
            raise ValueError(f"row {shard.start + place} {error}") from error
        return b"" if frame is None else frame.tobytes()

    def _without(self, frames: Frames) -> bytes:
        return b"".join(self.codec.joined(frames))

    def _with(self, frames: Frames) -> bytes:
        return b"".join(replace(self.codec, checksums=True).joined(frames))


@dataclass(frozen=True)
class VectorsUpgrade(ChunkUpgrade):
    """Of a layer with one value per chip: an object is one chunk, and has no index."""

    def _frames(self, content: NDArray[np.uint8], shard: Shard) -> Frames:
        try:
            frame = ShardObject.of_chunk(content).frame(0, self.nbytes, checksums=False)
        except ValueError as error:
            raise ValueError(f"its chunk {error}") from error
        return [b"" if frame is None else frame.tobytes()]

    def _without(self, frames: Frames) -> bytes:
        return frames[0]

    def _with(self, frames: Frames) -> bytes:
        return frames[0] + crc32c(frames[0])
