"""What Earth Engine documents about bands, types, masks and arithmetic, seen through the client."""

from __future__ import annotations

import ee
import numpy as np
import pytest

from tests.sandbox import world

SCENE = f"{world.S2}/20190610T103021_T32TNS"
CORNER = (500980.0, 5099020.0)  # four pixels: the masked square of HOLES begins in the third


def scene():
    return ee.Image(SCENE)


def holes():
    return ee.Image(world.HOLES)


def around_hole(image):
    return world.pixels(image, *CORNER, 4, 4)


# Bands


def test_select_by_name_index_and_pattern_with_new_names(sandbox):
    assert scene().select(["B3", "B2"]).bandNames().getInfo() == ["B3", "B2"]
    assert scene().select(0, -1).bandNames().getInfo() == ["B2", "SCL"]
    assert scene().select("B.*").bandNames().getInfo() == ["B2", "B3", "B11"]
    assert scene().select(["B3", "B2"], ["green", "blue"]).bandNames().getInfo() == ["green", "blue"]
    assert world.pixels(scene().select(["B3"], ["green"]))["green"][0, 0] == 11


def test_add_bands_suffixes_or_overwrites(sandbox):
    two = scene().select(["B2", "B3"])
    other = ee.Image(5).rename("B2")
    assert two.addBands(other).bandNames().getInfo() == ["B2", "B3", "B2_1"]
    assert two.addBands(other).addBands(other).bandNames().getInfo() == ["B2", "B3", "B2_1", "B2_2"]
    replaced = two.addBands(other, None, True)
    assert replaced.bandNames().getInfo() == ["B2", "B3"]
    assert world.pixels(replaced)["B2"][0, 0] == 5
    assert two.addBands(scene(), ["SCL"]).bandNames().getInfo() == ["B2", "B3", "SCL"]


def test_rename_needs_as_many_names(sandbox):
    assert scene().select("B2").rename("blue").bandNames().getInfo() == ["blue"]
    with pytest.raises(ee.EEException, match="number of names must be the same"):
        scene().rename(["a", "b"]).getInfo()


# Types


def test_casts_truncate_and_clamp(sandbox):
    image = ee.Image.cat(ee.Image(3.9), ee.Image(-3.9), ee.Image(300), ee.Image(-5)).rename(["a", "b", "c", "d"])
    array = world.pixels(image.toUint8(), width=1, height=1)
    assert array[0, 0].tolist() == (3, 0, 255, 0)
    assert world.pixels(image.toInt16(), width=1, height=1)[0, 0].tolist() == (3, -3, 300, -5)
    assert world.pixels(image.float(), width=1, height=1).dtype["a"] == np.float32


def test_arithmetic_takes_the_union_of_types(sandbox):
    byte = ee.Image(200).toUint8()
    assert world.pixels(byte.add(1)).dtype["constant"] == np.uint8
    assert world.pixels(byte.add(100))["constant"][0, 0] == 255
    assert world.pixels(byte.add(ee.Image(100).toUint16()))["constant"][0, 0] == 300
    assert world.pixels(byte.add(ee.Image(-1).toInt8())).dtype["constant"] == np.int16
    assert world.pixels(byte.divide(3)).dtype["constant"] == np.float64
    assert world.pixels(byte.float().multiply(ee.Image(2).toUint8())).dtype["constant"] == np.float32


def test_division_by_zero_is_zero(sandbox):
    assert world.pixels(ee.Image(5).divide(0))["constant"][0, 0] == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [("subtract", 4), ("multiply", 12), ("max", 6), ("min", 2), ("gt", 1), ("gte", 1), ("lt", 0), ("lte", 0),
     ("eq", 0), ("neq", 1), ("pow", 36), ("mod", 0), ("And", 1), ("Or", 1), ("bitwiseAnd", 2), ("bitwiseOr", 6)],
)  # fmt: skip
def test_binary_operations(sandbox, name, expected):
    assert world.pixels(getattr(ee.Image(6), name)(2))["constant"][0, 0] == expected


def test_unary_operations(sandbox):
    assert world.pixels(ee.Image(-7).abs())["constant"][0, 0] == 7
    assert world.pixels(ee.Image(0).Not())["constant"][0, 0] == 1
    assert world.pixels(ee.Image(9).sqrt())["constant"][0, 0] == 3
    assert world.pixels(ee.Image(12).clamp(0, 10))["constant"][0, 0] == 10


def test_a_single_band_meets_every_band(sandbox):
    array = world.pixels(scene().select(["B2", "B3"]).add(ee.Image(1)))
    assert array.dtype.names == ("B2", "B3")
    assert array[0, 0].tolist() == (11, 12)


def test_equal_counts_with_other_names_go_in_order(sandbox):
    array = world.pixels(scene().select(["B2", "B3"]).subtract(ee.Image([1, 2])))
    assert array[0, 0].tolist() == (9, 9)


# Masks


def test_masked_pixels_come_as_zero(sandbox):
    assert around_hole(holes())["b1"].tolist()[1] == [9998, 9999, 10000, 10001]
    assert around_hole(holes())["b1"].tolist()[2] == [10098, 10099, 0, 0]


def test_masks_spread_through_arithmetic(sandbox):
    array = around_hole(ee.Image(1).add(holes()))
    assert array["constant"][2].tolist() == [10099, 10100, 0, 0]


def test_unmask_fills(sandbox):
    assert around_hole(holes().unmask(7))["b1"][2].tolist() == [10098, 10099, 7, 7]
    assert around_hole(holes().unmask())["b1"][2].tolist() == [10098, 10099, 0, 0]
    assert around_hole(holes().unmask(-1)).dtype["b1"] == np.int32


def test_unmask_stays_in_the_footprint_unless_told(sandbox):
    outside = dict(x=499960.0, y=5100000.0, width=8, height=2)
    kept = world.pixels(holes().unmask(7), **outside)["b1"]
    assert kept[0].tolist() == [0, 0, 0, 0, 0, 1, 2, 3]
    everywhere = world.pixels(holes().unmask(7, False), **outside)["b1"]
    assert everywhere[0].tolist() == [7, 7, 7, 7, 0, 1, 2, 3]


def test_mask_reads_and_sets(sandbox):
    assert around_hole(holes().mask())["b1"][2].tolist() == [1, 1, 0, 0]
    assert around_hole(scene().select("B2").updateMask(holes().mask()))["B2"][2].tolist() == [10108, 10109, 0, 0]
    assert around_hole(holes().mask(ee.Image(0)))["b1"].max() == 0
    assert around_hole(holes().mask(ee.Image(1)))["b1"][2, 3] == 10101


def test_where_replaces_only_where_the_test_holds(sandbox):
    array = around_hole(holes().where(holes().gt(9999), ee.Image(3)))
    assert array["b1"].tolist() == [[9898, 9899, 9900, 9901], [9998, 9999, 3, 3], [3, 3, 0, 0], [3, 3, 0, 0]]


def test_clip_masks_pixels_with_their_centre_outside(sandbox):
    region = ee.Geometry.Rectangle([500004, 5099976, 500026, 5099996], "EPSG:32632", False)
    array = world.pixels(holes().add(1).clip(region), width=4, height=3)["b1"]
    assert array.tolist() == [[1, 2, 3, 0], [101, 102, 103, 0], [0, 0, 0, 0]]


def test_bilinear_ignores_masked_neighbours(sandbox):
    array = world.pixels(holes().resample("bilinear"), 500985.0, 5099005.0, 3, 2)["b1"]
    # Between two columns and two rows: a mean of the valid ones of four pixels, masked where none is.
    assert array[0, 0] == round((9998 + 9999 + 10098 + 10099) / 4 + 1e-9)
    assert array[0, 1] == round((9999 + 10000 + 10099) / 3)
    assert array[1, 2] == 0


# Projections and constants


def test_projection_of_mixed_bands_is_refused(sandbox):
    with pytest.raises(ee.EEException, match="contains different projections"):
        scene().projection().getInfo()
    assert scene().select("B11").projection().nominalScale().getInfo() == 20
    assert ee.Image(1).projection().getInfo()["transform"] == [1, 0, 0, 0, 1, 0]


def test_constants_have_the_smallest_type(sandbox):
    assert world.pixels(ee.Image([1, 300, -1, 0.5])).dtype == np.dtype(
        [("constant", "u1"), ("constant_1", "<u2"), ("constant_2", "i1"), ("constant_3", "<f8")])  # fmt: skip


def test_pixel_lonlat(sandbox):
    array = world.pixels(ee.Image.pixelLonLat(), 8.0, 46.0, 2, 1, 0.5, "EPSG:4326")
    assert array["longitude"].tolist() == [[8.25, 8.75]]
    assert array["latitude"].tolist() == [[45.75, 45.75]]


def test_properties_of_images(sandbox):
    assert scene().get("CLOUDY_PIXEL_PERCENTAGE").getInfo() == 5.0
    assert scene().get("absent").getInfo() is None
    assert scene().set("a", 1).get("a").getInfo() == 1
    assert scene().date().format("YYYY-MM-dd").getInfo() == "2019-06-10"


def test_a_chip_beyond_the_image_is_masked(sandbox):
    assert world.pixels(holes(), 600000.0, 5000000.0)["b1"].max() == 0


def test_geometry_of_an_image_is_its_outline(sandbox):
    west, south = holes().geometry().bounds().coordinates().getInfo()[0][0]
    assert (west, south) == (pytest.approx(9.0, abs=1e-3), pytest.approx(46.017, abs=2e-3))


def test_remap_translates_and_masks_the_rest(sandbox):
    classes = scene().select("SCL").reproject("EPSG:32632", None, 10)
    data = world.pixels(classes, width=6, height=1)["SCL"][0].tolist()
    assert data == [0, 0, 1, 1, 2, 2]
    kept = world.pixels(classes.remap([1, 2], [10, 300]), width=6, height=1)
    assert kept.dtype == np.dtype([("remapped", "<u2")])
    assert kept["remapped"][0].tolist() == [0, 0, 10, 10, 300, 300]
    known = world.pixels(classes.remap([1], [10]).mask(), width=6, height=1)["remapped"]
    assert known[0].tolist() == [0, 0, 1, 1, 0, 0]
    filled = world.pixels(classes.remap([1], [10], 99), width=6, height=1)["remapped"]
    assert filled[0].tolist() == [99, 99, 10, 10, 99, 99]
