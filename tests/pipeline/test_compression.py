"""What an estimate counts is what the store keeps."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.compression import compressed_bytes, compressor
from pipeline.sharding import codec_of
from tests.pipeline.test_sharding import metadata_of


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_an_estimate_counts_the_bytes_of_the_store(dtype: str) -> None:
    chip = np.random.default_rng(0).integers(0, 2, (2, 64, 64)).cumsum(axis=2).astype(dtype)
    codec = codec_of(
        metadata_of(dtype, np.dtype(dtype).type(0), chip.shape, compressors=compressor(dtype)), chip[0, 0, 0] * 0
    )
    assert codec is not None
    assert compressed_bytes(chip) == len(codec.compressed(chip)) < chip.nbytes
