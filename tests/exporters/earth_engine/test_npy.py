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
    st.sampled_from([None, (1, 0), (2, 0)]), st.booleans(), st.integers(0, 99),
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


def test_pixels_of_another_shape_and_plain_arrays_are_refused():
    with pytest.raises(Transient, match=r"\(3, 3\)"):
        decoded(body_of(chip(["u1"], (3, 3), 0)), (4, 5))
    with pytest.raises(Transient, match="bands"):
        decoded(body_of(np.zeros((4, 5))), (4, 5))
