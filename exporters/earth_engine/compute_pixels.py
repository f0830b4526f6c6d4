"""The request for pixels: what `ee.data.computePixels` sends, without what that does anew for every request."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import ee

from exporters.earth_engine.expression import Shared, encoded
from pipeline.grid import Grid

_FORMAT = "NPY"


def compute_pixels(image: ee.Image, grid: Grid, shared: Shared | None = None) -> bytes:
    """The NPY body of an image, which may contain `shared` ones, on exactly `grid`. Raises what the client raises."""
    ask = _direct()
    if ask is None:  # a client that has changed inside
        return bytes(ee.data.computePixels({"expression": image, "fileFormat": _FORMAT, "grid": grid_request(grid)}))
    body = {"expression": encoded(image, shared), "fileFormat": _FORMAT, "grid": grid_request(grid)}
    tag = ee.data.getWorkloadTag()
    return ask(body | {"workloadTag": tag} if tag else body)


def grid_request(grid: Grid) -> dict[str, Any]:
    """`grid` as computePixels takes it."""
    x_scale, x_shear, x_origin, y_shear, y_scale, y_origin = grid.transform
    height, width = grid.shape_yx
    return {
        "dimensions": {"width": width, "height": height},
        "affineTransform": {
            "scaleX": x_scale, "shearX": x_shear, "translateX": x_origin,
            "shearY": y_shear, "scaleY": y_scale, "translateY": y_origin,
        },
        "crsCode": grid.crs,
    }  # fmt: skip


def _direct() -> Callable[[dict[str, Any]], bytes] | None:
    """How to send a body over the client's present connection, as its own function does; None where it cannot be."""
    try:
        execute, project = ee.data._execute_cloud_call, ee.data._get_projects_path()
        method = _method(ee.data._get_state().cloud_api_resource_raw)
    except AttributeError:
        return None
    return lambda body: bytes(execute(method(project=project, body=body)))


@lru_cache(maxsize=1)
def _method(resource: Any) -> Any:
    """The method of one connection: the library writes it anew, from the description of the API, for each use."""
    return resource.projects().image().computePixels
