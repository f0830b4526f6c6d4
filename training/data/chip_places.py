"""Where chips are, as numbers that a batch can hold: row, place and grid."""

from __future__ import annotations

from pyproj import CRS

from pipeline.corpus import Corpus

_NO_EPSG = 0


class ChipPlaces:
    """Row, longitude, latitude (degrees) and grid of every chip of a corpus.

    The grid is the EPSG code of its CRS (0 for one without), the outer corner of its upper left pixel in metres of that
    CRS, and the side of a pixel in metres. The columns are held in memory: 48 bytes a chip.
    """

    def __init__(self, corpus: Corpus) -> None:
        column = corpus.manifest.column
        names = column("crs")
        codes = {name: CRS.from_user_input(name).to_epsg() or _NO_EPSG for name in set(names.tolist())}
        self._epsg = [codes[name] for name in names.tolist()]
        self._columns = {name: column(name) for name in ("lon", "lat", "origin_x_m", "origin_y_m", "resolution_m")}

    def of(self, row: int) -> dict[str, int | float]:
        """`row`, `lon`, `lat`, `epsg`, `origin_x_m`, `origin_y_m` and `resolution_m` of one chip."""
        numbers = {name: float(values[row]) for name, values in self._columns.items()}
        return {"row": row, "epsg": self._epsg[row], **numbers}
