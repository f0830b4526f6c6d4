"""Reads scalars from TensorBoard's event files as they grow, without TensorBoard: records of protocol buffers.

The layout is that of tensorflow/core/util/event.proto and of TFRecord; only what `training` writes is looked at.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import google_crc32c

_HEADER, _CHECKSUM = 12, 4  # bytes before a record: its length (uint64) and a checksum of that; and behind it
_STEP, _SUMMARY = 2, 5  # numbers of fields of an event
_VALUE, _TAG, _SIMPLE_VALUE = 1, 1, 2  # of a summary, and of a value in it
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # kinds of fields
_READ_BYTES = 1 << 24
_LARGEST = 1 << 20  # of a record that is read: scalars take 60 bytes, and larger ones are pictures


@dataclass
class Curve:
    """One scalar over the steps of a run: `steps` ascend, `values` as they were written."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def add(self, step: int, value: float) -> None:
        """One more step; a run that goes on from a checkpoint has some steps again, and the newer ones count."""
        if self.steps and step <= self.steps[-1]:
            keep = bisect_left(self.steps, step)
            del self.steps[keep:], self.values[keep:]
        self.steps.append(step)
        self.values.append(value)


@dataclass
class EventFile:
    """One event file, read up to `offset`, a whole number of records. What is damaged ends it, with a `note`."""

    path: Path
    offset: int = 0
    note: str = ""

    def read_on(self, curves: dict[str, Curve]) -> None:
        """Add what was written since the last call; a record that is not whole yet waits. `OSError` if unreadable."""
        with self.path.open("rb") as file:
            while not self.note:
                file.seek(self.offset)
                before, data = self.offset, file.read(_READ_BYTES)
                for record in self._records(data):
                    for tag, step, value in scalars(record):
                        curves.setdefault(tag, Curve()).add(step, value)
                if self.offset == before:
                    return

    def _records(self, data: bytes) -> Iterator[memoryview]:
        at, view = 0, memoryview(data)
        while at + _HEADER <= len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            if _masked(data[at : at + 8]) != struct.unpack_from("<I", data, at + 8)[0]:
                self.note = f"{self.path} is damaged at byte {self.offset}; what follows in it is not shown."
                return
            end = at + _HEADER + length
            if end + _CHECKSUM > len(data):
                if length > _LARGEST and self.offset + end + _CHECKSUM - at <= self.path.stat().st_size:
                    self.offset += end + _CHECKSUM - at
                return
            if length <= _LARGEST:
                yield view[at + _HEADER : end]
            self.offset += end + _CHECKSUM - at
            at = end + _CHECKSUM


def _masked(data: bytes) -> int:
    """The checksum of TFRecord: CRC-32C, turned by 15 bits, and a constant added."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def scalars(event: memoryview) -> Iterator[tuple[str, int, float]]:
    """Tag, step and value of each scalar in an event; pictures and texts are passed over."""
    step, summary = 0, None
    for number, found in _fields(event):
        if number == _STEP and isinstance(found, int):
            step = found
        elif number == _SUMMARY and isinstance(found, memoryview):
            summary = found
    for number, value in _fields(summary) if summary is not None else ():
        if number == _VALUE and isinstance(value, memoryview):
            parts = dict(_fields(value))
            tag, scalar = parts.get(_TAG), parts.get(_SIMPLE_VALUE)
            if isinstance(tag, memoryview) and isinstance(scalar, float):
                yield bytes(tag).decode("utf-8", "replace"), step, scalar


def _fields(message: memoryview) -> Iterator[tuple[int, int | float | memoryview]]:
    """The number and the content of each field; a message that breaks off ends there."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
        elif kind == _BYTES:
            length, at = _varint(message, at)
            yield key >> 3, message[at : at + length]
            at += length
        elif kind in (_DOUBLE, _FLOAT) and at + (size := 8 if kind == _DOUBLE else 4) <= len(message):
            yield key >> 3, struct.unpack_from("<d" if kind == _DOUBLE else "<f", message, at)[0]
            at += size
        else:
            return


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            break
    return value, at
