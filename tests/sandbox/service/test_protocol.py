"""The REST endpoints as the real client uses them."""

from __future__ import annotations

import io
import zipfile

import ee
import numpy as np
import pytest
import rasterio
import requests
from PIL import Image as Picture

from tests.sandbox import world

POINT = [9.02, 46.03]


def test_initialise_costs_three_requests(sandbox):
    ee.Reset()
    world.connect(sandbox)
    requests_made = sandbox.counters()["requests"]
    assert requests_made["algorithms"] == 1
    assert requests_made["discovery"] <= 4
    assert set(requests_made) == {"algorithms", "discovery"}


def test_value_compute_returns_plain_values(sandbox):
    assert ee.Number(1).add(2).getInfo() == 3
    assert ee.List([1, "a", [2.5]]).getInfo() == [1, "a", [2.5]]
    assert ee.Dictionary({"a": 1}).set("b", 2).getInfo() == {"a": 1, "b": 2}


def test_image_description_names_bands_types_and_grids(sandbox):
    info = ee.Image(f"{world.S2}/20190610T103021_T32TNS").getInfo()
    assert info["type"] == "Image"
    assert [band["id"] for band in info["bands"]] == ["B2", "B3", "B11", "SCL"]
    first = info["bands"][0]
    assert first["crs"] == "EPSG:32632"
    assert first["crs_transform"] == [10, 0, 500000, 0, -10, 5100000]
    assert first["dimensions"] == [400, 400]
    assert first["data_type"] == {"type": "PixelType", "precision": "int", "min": 0, "max": 65535}
    assert info["properties"]["CLOUDY_PIXEL_PERCENTAGE"] == 5.0


def test_npy_keeps_one_type_per_band(sandbox):
    image = ee.Image.cat(ee.Image(f"{world.S2}/20190610T103021_T32TNS").select(["B2", "SCL"]), ee.Image(world.DEM))
    array = world.pixels(image)
    assert array.dtype == np.dtype([("B2", "<u2"), ("SCL", "u1"), ("b1", "<i2")])
    assert array.shape == (8, 8)
    assert array["B2"][2, 3] == 2 * 100 + 3 + 10


def test_band_ids_choose_bands(sandbox):
    request = {"expression": ee.Image(f"{world.S2}/20190610T103021_T32TNS"), "fileFormat": "NUMPY_NDARRAY",
               "grid": world.grid(500000, 5100000, 4, 4), "bandIds": ["B3"]}  # fmt: skip
    assert ee.data.computePixels(request).dtype.names == ("B3",)


def test_geotiff_has_names_grid_and_zero_for_masked(sandbox):
    body = {"expression": ee.Image(world.HOLES).add(1), "fileFormat": "GEO_TIFF",
            "grid": world.grid(500990, 5099010, 4, 4)}  # fmt: skip
    with rasterio.open(io.BytesIO(ee.data.computePixels(body))) as file:
        assert file.crs.to_epsg() == 32632
        assert tuple(file.transform)[:6] == (10, 0, 500990, 0, -10, 5099010)
        assert file.descriptions == ("b1",)
        assert file.read(1)[0, 0] == 99 * 100 + 99 + 1
        assert file.read(1)[3, 3] == 0


def test_png_of_one_band(sandbox):
    body = {"expression": ee.Image(7), "fileFormat": "PNG", "grid": world.grid(500000, 5100000, 5, 3)}
    picture = Picture.open(io.BytesIO(ee.data.computePixels(body)))
    assert picture.size == (5, 3)
    assert np.asarray(picture).max() == 7


def test_a_tagged_client_may_ask_for_a_download(sandbox):
    with ee.data.workloadTagContext("some-job"):
        url = ee.Image(world.HOLES).getDownloadURL({"dimensions": "4x4", "format": "NPY"})
    assert requests.get(url, timeout=10).status_code == 200


@pytest.mark.parametrize("file_format", ["GEO_TIFF", "NPY"])
def test_download_url_snaps_the_region_to_the_scale(sandbox, file_format):
    image = ee.Image(world.HOLES)
    region = ee.Geometry.Rectangle([500123, 5099500, 500456, 5099800], "EPSG:32632", False)
    url = image.getDownloadURL({"region": region, "scale": 10, "crs": "EPSG:32632", "format": file_format})
    reply = requests.get(url, timeout=10)
    assert reply.status_code == 200
    if file_format == "NPY":
        assert np.load(io.BytesIO(reply.content))["b1"].shape == (30, 34)
        return
    with rasterio.open(io.BytesIO(reply.content)) as file:
        assert (file.width, file.height) == (34, 30)
        assert tuple(file.transform)[:6] == (10, 0, 500120, 0, -10, 5099800)
        assert file.read(1)[0, 0] == 20 * 100 + 12


def test_the_default_download_is_a_zip_of_one_file_per_band(sandbox):
    image = ee.Image(f"{world.S2}/20190610T103021_T32TNS").select(["B2", "SCL"])
    region = ee.Geometry.Rectangle([500000, 5099900, 500100, 5100000], "EPSG:32632", False)
    reply = requests.get(image.getDownloadURL({"region": region, "scale": 10, "crs": "EPSG:32632"}), timeout=10)
    with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
        assert archive.namelist() == ["download.B2.tif", "download.SCL.tif"]
        with rasterio.open(io.BytesIO(archive.read("download.SCL.tif"))) as file:
            assert (file.dtypes, file.shape) == (("uint8",), (10, 10))


def test_get_pixels_of_a_stored_asset(sandbox):
    body = {"assetId": world.HOLES, "fileFormat": "NUMPY_NDARRAY", "grid": world.grid(500010, 5099990, 2, 2)}
    assert ee.data.getPixels(body)["b1"].tolist() == [[101, 102], [201, 202]]


def test_get_pixels_gives_0_where_the_asset_is_masked(sandbox):
    body = {"assetId": world.HOLES, "fileFormat": "NUMPY_NDARRAY", "grid": world.grid(500990, 5099010, 2, 2)}
    assert ee.data.getPixels(body)["b1"].tolist() == [[9999, 10000], [10099, 0]]


def test_get_pixels_without_a_grid_gives_the_assets_own(sandbox):
    array = ee.data.getPixels({"assetId": world.HOLES, "fileFormat": "NUMPY_NDARRAY"})
    assert array.shape == (400, 400) and array["b1"][3, 7] == 307


def test_get_pixels_gives_the_bands_that_are_named(sandbox):
    scene = f"{world.S2}/20190610T103021_T32TNS"
    body = {"assetId": scene, "bandIds": ["SCL", "B2"], "fileFormat": "NUMPY_NDARRAY"}
    array = ee.data.getPixels({**body, "grid": world.grid(500000, 5100000, 4, 4, 20.0)})
    assert array.dtype.names == ("SCL", "B2") and array["SCL"].dtype == np.uint8


def test_get_pixels_of_what_is_no_image_is_an_error(sandbox):
    for asset_id in (world.S2, "users/nobody/nothing"):
        with pytest.raises(ee.EEException, match="not found"):
            ee.data.getPixels({"assetId": asset_id, "fileFormat": "NUMPY_NDARRAY"})


def test_compute_features_pages_through_a_collection(sandbox):
    features = ee.FeatureCollection([ee.Feature(ee.Geometry.Point([i, 0]), {"n": i}) for i in range(7)])
    first = ee.data.computeFeatures({"expression": features, "pageSize": 3})
    assert [row["properties"]["n"] for row in first["features"]] == [0, 1, 2]
    second = ee.data.computeFeatures({"expression": features, "pageSize": 3, "pageToken": first["nextPageToken"]})
    third = ee.data.computeFeatures({"expression": features, "pageSize": 3, "pageToken": second["nextPageToken"]})
    assert [row["properties"]["n"] for row in second["features"] + third["features"]] == [3, 4, 5, 6]
    assert "nextPageToken" not in third
    assert first["features"][0]["geometry"] == {"type": "Point", "coordinates": [0, 0]}
    assert first["features"][1]["id"] == "1"


def test_assets_are_described(sandbox):
    assert ee.data.getAsset(world.S2)["type"] == "IMAGE_COLLECTION"
    image = ee.data.getAsset(f"{world.S2}/20190610T103021_T32TNS")
    assert image["type"] == "IMAGE"
    assert image["startTime"] == "2019-06-10T00:00:00.000Z"
    assert image["bands"][2]["grid"]["affineTransform"]["scaleX"] == 20
    assert ee.data.getAsset(world.DEM)["id"] == world.DEM


def test_a_folder_lists_its_assets(sandbox):
    listed = ee.data.listAssets({"parent": "COPERNICUS"})["assets"]
    assert sorted(asset["id"] for asset in listed) == [world.S1, world.S2]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, ["20190610", "20190710", "20200710"]),
        ({"startTime": "2019-07-10T00:00:00Z", "endTime": "2020-07-10T00:00:00Z"}, ["20190710"]),
        ({"region": {"type": "Point", "coordinates": POINT}}, ["20190610", "20190710", "20200710"]),
        ({"region": {"type": "Point", "coordinates": [0, 0]}}, []),
        ({"properties": ["CLOUDY_PIXEL_PERCENTAGE<10"]}, ["20190610", "20190710"]),
        ({"properties": ["MGRS_TILE=32TNS"], "startTime": "2020-01-01T00:00:00Z"}, ["20200710"]),
    ],
)
def test_list_images_filters(sandbox, parameters, expected):
    images = ee.data.listImages({"parent": world.S2, **parameters})["images"]
    assert [image["id"].rsplit("/", 1)[-1][:8] for image in images] == expected


def test_list_images_pages(sandbox):
    first = ee.data.listImages({"parent": world.S2, "pageSize": 2})
    rest = ee.data.listImages({"parent": world.S2, "pageSize": 2, "pageToken": first["nextPageToken"]})
    assert [len(first["images"]), len(rest["images"])] == [2, 1]
    assert "nextPageToken" not in rest


def test_a_body_that_is_not_json_is_a_400(sandbox):
    reply = requests.post(f"{sandbox.url}/v1/projects/demo/value:compute", data=b"{", timeout=5)
    assert reply.status_code == 400
    assert reply.json()["error"]["status"] == "INVALID_ARGUMENT"


def test_an_unknown_path_is_a_404(sandbox):
    assert requests.get(f"{sandbox.url}/v1/projects/demo/nothing", timeout=5).status_code == 404


def test_connections_are_kept_alive(sandbox):
    with requests.Session() as session:
        for _ in range(3):
            reply = session.get(f"{sandbox.url}/sandbox/counters", timeout=5)
            assert reply.raw.version == 11
        assert len(session.adapters["http://"].poolmanager.pools) == 1
