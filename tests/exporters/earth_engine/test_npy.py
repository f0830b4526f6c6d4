"""NPY bodies: what NumPy reads from them, or an error that asks again."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib import format as npy

from exporters.earth_engine.npy import decoded
from pipeline.errors import Transient

TYPES = ("u1", "<u2", "<i2", "<f4", "<f8", "<i4")


def body_of(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    stream = io.BytesIO()
    npy.write_array(stream, array, version=version, allow_pickle=False)
    return stream.getvalue()


def chip(kinds: list[str], shape: tuple[int, int], seed: int) -> np.ndarray:
    array = np.zeros(shape, dtype=[(f"layer__band{index}", kind) for index, kind in enumerate(kinds)])
    raw = np.random.default_rng(seed).integers(0, 100, (*shape, len(kinds)))
    for index, name in enumerate(array.dtype.names or ()):
        array[name] = raw[..., index]
    return array


@given(
    st.lists(st.sampled_from(TYPES), min_size=1, max_size=40), st.integers(1, 9), st.integers(1, 9),
    st.sampled_from([None, (1, 0), (2, 0), (3, 0)]), st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_it_reads_what_numpy_reads(kinds, height, width, version, fortran, seed):
    array = chip(kinds, (height, width), seed)
    body = body_of(np.asfortranarray(array) if fortran else array, version)
    result, expected = decoded(body, (height, width)), np.load(io.BytesIO(body), max_header_size=100_000)
    assert result.dtype == expected.dtype and np.array_equal(result, expected)


def test_a_thousand_bands_are_read():
    array = chip(["u1"] * 1024, (2, 3), 0)
    assert np.array_equal(decoded(body_of(array), (2, 3)), array)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"<html>busy</html>", b"\x93NUMPY\x01\x00v\x00{'descr'"])
def test_a_damaged_body_is_transient(content):
    with pytest.raises(Transient, match="damaged"):
        decoded(content, (4, 5))


@given(st.floats(0, 0.999))
def test_a_body_that_is_cut_anywhere_is_transient(share):
    whole = body_of(chip(["<u2", "<f4"], (4, 5), 1))
    with pytest.raises(Transient):
        decoded(whole[: int(share * len(whole))], (4, 5))


@given(st.binary(min_size=1, max_size=64), st.sampled_from([(1, 0), (2, 0), (3, 0)]))
def test_bytes_behind_the_pixels_are_damage(more, version):
    whole = body_of(chip(["<u2", "<f4"], (4, 5), 1), version)
    with pytest.raises(Transient, match="in place of"):
        decoded(whole + more, (4, 5))


def by_hand(header: str, pixels: bytes = bytes(40), major: int = 1) -> bytes:
    """A body whose header is this text."""
    text = header.encode()
    return npy.magic(major, 0) + len(text).to_bytes(2 if major == 1 else 4, "little") + text + pixels


def described(descr: str, shape: str = "(4, 5)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n"


def test_a_header_by_hand_is_read():
    assert decoded(by_hand(described("[('a', '<u2')]")), (4, 5))["a"].sum() == 0


@pytest.mark.parametrize("major", [1, 2, 3])
@pytest.mark.parametrize(
    "header",
    [
        described("[('a', '<u2')]", "(4000000, 5000000)"),  # 40 TB
        described("[('a', '<u2')]", "(-4, -5)"),
        described("[('a', '<u2')]", "(4.0, 5.0, 1e9)"),
        described("[('a', '<f8', (100000, 100000))]"),
        described("[('a', '|V2000000000')]"),
        described("[('a', '|O')]"),
        described("[('a', '|S2')]"),
        described("[('a', '<u1'), ('', '|V1')]"),  # padding between the bands
        described("[('a', '<u1'), ('a', '<u1')]"),
        described("[]"),
        described("'<u2'"),
        described("[('a', 'nonsense')]"),
        "{'descr': [('a', '<u2')]}",
        "[" * 20_000,
        "__import__('os')",
        "5",
    ],
)
def test_a_header_is_not_believed(header, major):
    with pytest.raises(Transient, match="the pixels arrived"):
        decoded(by_hand(header, major=major), (4, 5))


def test_a_header_longer_than_the_body_is_damage():
    body = npy.magic(2, 0) + (0xFFFFFFFF).to_bytes(4, "little") + b"{}"
    with pytest.raises(Transient, match="damaged"):
        decoded(body, (4, 5))


def test_pixels_of_another_shape_and_plain_arrays_are_refused():
    with pytest.raises(Transient, match=r"\(3, 3\)"):
        decoded(body_of(chip(["u1"], (3, 3), 0)), (4, 5))
    with pytest.raises(Transient, match="bands"):
        decoded(body_of(np.zeros((4, 5))), (4, 5))
