"""The stored object of a shard, opened: where each chip is, and its compressed bytes after a look at the checksum."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import google_crc32c
import numpy as np
from numpy.typing import NDArray

# Offset and length of a chip that is all nodata, and so has no bytes (Zarr v3, sharding_indexed).
EMPTY = 2**64 - 1
PAIR_BYTES, CRC_BYTES = 16, 4
_SIZES = struct.Struct("<4xI4xI")  # the header of C-Blosc 1; read are decoded and encoded size
_CRC = struct.Struct("<I")


def tail_bytes(shard_rows: int) -> int:
    """How much of an object's end `index_crc32c` needs: the last chip's last four bytes, the index, its checksum."""
    return CRC_BYTES + shard_rows * PAIR_BYTES + CRC_BYTES


def index_crc32c(tail: bytes | NDArray[np.uint8], shard_rows: int) -> str:
    """The checksum by which the ledger knows an object, from its last `tail_bytes` or more; eight hexadecimal digits.

    It covers the index and the four bytes before, the last chip's checksum: shards of chips that do not compress, or
    that are each of one value, differ by no length. Without the index's own checksum, which would cancel it out.
    """
    return f"{google_crc32c.value(tail[-tail_bytes(shard_rows) : -CRC_BYTES]):08x}"


@dataclass(frozen=True)
class ShardIndex:
    """Offset and length of each chip of an object, (rows, 2) uint64, and the checksum that the ledger keeps."""

    byte_ranges: NDArray[np.uint64]
    crc32c: str

    @classmethod
    def of(cls, tail: NDArray[np.uint8], shard_rows: int, size_bytes: int) -> ShardIndex:
        """From the last `tail_bytes` of an object of that size, or more; raises `ValueError` where it is damaged."""
        return cls(_byte_ranges(tail, shard_rows, size_bytes), index_crc32c(tail, shard_rows))


@dataclass(frozen=True)
class ShardObject:
    """The bytes of an object, and offset and length of each of its chips, (rows, 2) uint64.

    `index_crc32c` is what the ledger keeps.
    `view` is of the same bytes: headers are read faster from it, but the checksum takes no `memoryview`.
    """

    content: NDArray[np.uint8]
    view: memoryview
    byte_ranges: NDArray[np.uint64]
    index_crc32c: str | None

    @classmethod
    def of(cls, content: NDArray[np.uint8], shard_rows: int) -> ShardObject:
        """Open the object of a shard of so many rows; raises `ValueError` for a damaged index."""
        index = ShardIndex.of(content, shard_rows, len(content))
        return cls(content, content.data, index.byte_ranges, index.crc32c)

    @classmethod
    def of_chunk(cls, content: NDArray[np.uint8]) -> ShardObject:
        """Open an object that is one chunk, without an index."""
        return cls(content, content.data, np.array([[0, len(content)]], dtype=np.uint64), None)

    @classmethod
    def of_piece(cls, content: NDArray[np.uint8], byte_ranges: NDArray[np.uint64]) -> ShardObject:
        """Open chips that lie one behind another in an object; `byte_ranges` (chips, 2) say where they are there.

        `content` begins with the first. If it is shorter than they are, the last ones have another size.
        """
        offsets = np.minimum(byte_ranges[:, 0] - byte_ranges[0, 0], np.uint64(len(content)))
        lengths = np.minimum(byte_ranges[:, 1], np.uint64(len(content)) - offsets)
        return cls(content, content.data, np.stack([offsets, lengths], axis=1), None)

    def byte_range(self, place: int) -> tuple[int, int]:
        """Offset and length of the chip at a place of the shard."""
        offset, length = self.byte_ranges[place].tolist()
        return offset, length

    def frame(self, place: int, nbytes: int, checksums: bool) -> NDArray[np.uint8] | None:
        """The chip at a place of the shard, as Blosc compressed it; None where all is nodata.

        `nbytes` is its size when decoded. With `checksums` it must have its CRC-32C behind it; without, it may, as in a
        store that is being upgraded. Raises `ValueError` for a chip of another size or checksum.
        """
        offset, length = self.byte_range(place)
        if length == EMPTY:
            return None
        decoded, encoded = _SIZES.unpack_from(self.view, offset) if length >= _SIZES.size else (-1, -1)
        rest = length - encoded
        if decoded != nbytes or not (rest == CRC_BYTES or (rest == 0 and not checksums)):
            raise ValueError("has another size")
        frame = self.content[offset : offset + encoded]
        if rest and google_crc32c.value(frame) != _CRC.unpack_from(self.view, offset + encoded)[0]:
            raise ValueError("has another checksum")
        return frame


def _byte_ranges(tail: NDArray[np.uint8], rows: int, size_bytes: int) -> NDArray[np.uint64]:
    size = rows * PAIR_BYTES + CRC_BYTES
    if len(tail) < size:
        raise ValueError("it is shorter than its index")
    index = tail[-size:-CRC_BYTES]
    if google_crc32c.value(index) != _CRC.unpack_from(tail.data, len(tail) - CRC_BYTES)[0]:
        raise ValueError("its index has another checksum")
    pairs: NDArray[np.uint64] = index.copy().view("<u8").reshape(rows, 2)
    written = pairs[pairs[:, 1] != EMPTY]
    limit = size_bytes - size
    if len(written) and (written.max() > limit or written.sum(axis=1).max() > limit):
        raise ValueError("its index points outside the file")
    if len(written) and written[:, 1].min() < _SIZES.size:
        raise ValueError("its index names a chunk without content")
    return pairs
