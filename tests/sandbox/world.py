"""The catalogue that most tests of the sandbox share, and the real client pointed at a running sandbox."""

from __future__ import annotations

import ee
import ee.data
import ee.deprecation
import google.oauth2.credentials
import numpy as np

from sandbox.raster.stored import StoredFeature
from sandbox.service.server import Sandbox
from tests.sandbox.arrays import (
    DEGREES,
    UTM_10M,
    UTM_20M,
    ArrayBand,
    ArrayCatalog,
    array_image,
    day_ms,
    ramp,
    square,
)

S2 = "COPERNICUS/S2_SR_HARMONIZED"
S1 = "COPERNICUS/S1_GRD"
DW = "GOOGLE/DYNAMICWORLD/V1"
ERA5 = "ECMWF/ERA5_LAND/MONTHLY_AGGR"
WORLDCOVER = "ESA/WorldCover/v100"
DEM = "projects/sat-io/open-datasets/ASTER/GDEM"
HOLES = "users/demo/holes"
ECOREGIONS = "RESOLVE/ECOREGIONS/2017"


def connect(sandbox: Sandbox, project: str = "demo") -> None:
    """Initialise the client against the sandbox; nothing of it is replaced but a fetch from off the machine."""
    ee.deprecation._FetchDataCatalogStac = lambda: {}
    credentials = google.oauth2.credentials.Credentials(token="static")  # noqa: S106
    ee.Initialize(credentials, url=sandbox.url, project=project)
    ee.data.setMaxRetries(0)


def connected_to(sandbox: Sandbox) -> bool:
    """Whether the client, whose state is global, still speaks to this sandbox."""
    return ee.data._get_state().cloud_api_base_url == sandbox.url


def _sentinel2(day: str, cloud: float, offset: int):
    bands = [
        ArrayBand("B2", ramp(400, 400) + offset, UTM_10M),
        ArrayBand("B3", ramp(400, 400) + offset + 1, UTM_10M),
        ArrayBand("B11", ramp(200, 200) + offset, UTM_20M),
        ArrayBand("SCL", (ramp(200, 200) % 12).astype(np.uint8), UTM_20M),
    ]
    index = f"{day.replace('-', '')}T103021_T32TNS"
    return array_image(f"{S2}/{index}", bands, system_time_start=day_ms(day), CLOUDY_PIXEL_PERCENTAGE=cloud,
                       MGRS_TILE="32TNS")  # fmt: skip


def _sentinel1(day: str, orbit: str, polarisations: list[str]):
    bands = [ArrayBand(p, ramp(400, 400, np.float32) / 100 - 30, UTM_10M) for p in polarisations]
    return array_image(f"{S1}/S1A_IW_{day.replace('-', '')}", bands, system_time_start=day_ms(day),
                       orbitProperties_pass=orbit, instrumentMode="IW",
                       transmitterReceiverPolarisation=polarisations)  # fmt: skip


def _dynamic_world(day: str, label: int):
    values = np.full((400, 400), label, np.uint8)
    valid = np.ones((400, 400), bool)
    valid[:50] = False
    return array_image(f"{DW}/{day.replace('-', '')}T103021_T32TNS", [ArrayBand("label", values, UTM_10M, valid)],
                       system_time_start=day_ms(day))  # fmt: skip


def _era5(year: int, month: int):
    from sandbox.raster.stored import Projection

    lattice = Projection("EPSG:4326", (0.1, 0.0, 0.0, 0.0, -0.1, 90.0))
    values = np.full((600, 1200), 270.0 + month, np.float32)
    bands = [ArrayBand("temperature_2m", values, lattice),
             ArrayBand("total_precipitation_sum", values / 1000, lattice)]  # fmt: skip
    return array_image(f"{ERA5}/{year}{month:02d}", bands, system_time_start=day_ms(f"{year}-{month:02d}-01"))


def catalog() -> ArrayCatalog:
    """Two Sentinel-2 scenes, Sentinel-1 of both passes, land cover, climate, elevation, a band with holes."""
    elevation = (np.arange(720)[None, :] * 10 + np.zeros((720, 1))).astype(np.int16)
    hole = np.ones((400, 400), bool)
    hole[100:200, 100:200] = False
    cover = (np.indices((720, 720)).sum(axis=0) % 2 * 10 + 10).astype(np.uint8)
    return ArrayCatalog(
        single={
            DEM: array_image(DEM, [ArrayBand("b1", elevation, DEGREES)]),
            HOLES: array_image(HOLES, [ArrayBand("b1", ramp(400, 400), UTM_10M, hole)], system_time_start=0),
        },
        collections={
            S2: [_sentinel2("2019-06-10", 5.0, 10), _sentinel2("2019-07-10", 1.0, 1000),
                 _sentinel2("2020-07-10", 50.0, 2000)],
            S1: [_sentinel1("2019-06-11", "ASCENDING", ["VV", "VH"]), _sentinel1("2019-06-12", "DESCENDING", ["VV"])],
            DW: [_dynamic_world("2019-06-10", 1), _dynamic_world("2019-07-10", 4), _dynamic_world("2019-08-10", 4)],
            ERA5: [_era5(2019, month) for month in (6, 7)],
            WORLDCOVER: [array_image(f"{WORLDCOVER}/2020", [ArrayBand("Map", cover, DEGREES)],
                                     system_time_start=day_ms("2020-01-01"))],
        },
        tables={
            ECOREGIONS: [
                StoredFeature("0", square(8.0, 45.0, 1.0), {"ECO_NAME": "Po plain", "BIOME_NUM": 4}),
                StoredFeature("1", square(9.0, 45.0, 1.0), {"ECO_NAME": "Alps", "BIOME_NUM": 5}),
            ]
        },
    )  # fmt: skip


def grid(x: float, y: float, width: int, height: int, step: float = 10.0, crs: str = "EPSG:32632"):
    """A computePixels grid with its upper left corner at (x, y)."""
    affine = {"scaleX": step, "shearX": 0, "translateX": x, "shearY": 0, "scaleY": -step, "translateY": y}
    return {"dimensions": {"width": width, "height": height}, "affineTransform": affine, "crsCode": crs}


def pixels(image, x: float = 500000.0, y: float = 5100000.0, width: int = 8, height: int = 8, step: float = 10.0,
           crs: str = "EPSG:32632"):  # fmt: skip
    """The structured array that the client gets for an image."""
    request = {"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": grid(x, y, width, height, step, crs)}
    return ee.data.computePixels(request)
