"""Which number is no data in a layer of classes, and which dtype holds the codes of a column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporters.files.bands import layer_bands
from exporters.files.description import LayerSettings
from exporters.files.layer_spec import column_specification, specification
from pipeline.errors import Fatal
from pipeline.modality import Modality
from tests.exporters.files.rasters import write
from tests.exporters.files.test_raster import lattice


def mask(folder: Path, codes: list[int], **said: Any) -> Modality:
    """The layer of one file of uint8 that is said to have these classes."""
    write(folder / "a.tif", np.zeros((1, 8, 8), "uint8"), lattice())
    layer = LayerSettings(files="*.tif", classes={str(code): f"class {code}" for code in codes}, **said)
    bands = layer_bands(layer, "mask", folder, "a.tif")
    return specification("mask", layer, bands, bands)


def column(values: list[Any], **said: Any) -> Modality:
    return column_specification("kind", LayerSettings(column="kind", **said), values)


@pytest.mark.parametrize(
    ("codes", "said", "nodata"),
    [
        ([0, 255], {}, 254),
        ([0, 255], {"nodata": 7}, 7),
        ([0, 255], {"nodata": 255}, 254),
        ([0, 1], {}, 255),
        ([1, 255], {}, 0),
        ([code for code in range(256) if code != 77], {}, 77),
        (list(range(256)), {"dtype": "int16"}, -32768),
    ],
)
def test_no_data_is_a_number_that_is_no_class(
    tmp_path: Path, codes: list[int], said: dict[str, Any], nodata: int
) -> None:
    assert mask(tmp_path, codes, **said).nodata == nodata


def test_classes_that_leave_no_number_for_no_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="'mask' has a class for every number of uint8.*give its dtype, such as int32"):
        mask(tmp_path, list(range(256)), nodata=7)


@pytest.mark.parametrize(
    ("codes", "dtype"), [([0, 254], "uint8"), ([0, 255], "int32"), ([-1, 3], "int32"), ([-1, 70000], "int32")]
)
def test_the_codes_of_a_column_fit_their_dtype(codes: list[int], dtype: str) -> None:
    layer = column(codes, classes={str(code): f"class {code}" for code in codes})
    assert (layer.dtype, layer.codes) == (dtype, tuple(codes))


@pytest.mark.parametrize("values", [[1.5], ["a", "b"]])
@pytest.mark.parametrize("dtype", ["int64", "number"])
def test_a_column_of_a_dtype_that_no_corpus_holds_is_refused(values: list[Any], dtype: str) -> None:
    with pytest.raises(Fatal, match=f"'kind' would be of {dtype}, which a corpus does not hold; give its dtype"):
        column(values, dtype=dtype)
