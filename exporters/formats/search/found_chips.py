"""The chips that a search found, as GeoParquet: a row for each, the best first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from pipeline import durable
from pipeline.geoparquet import WGS84, geo_header


@dataclass(frozen=True)
class FoundChips:
    """Chips in the order of their ranks: `ids` (n,) text, manifest `rows` (n,), `lonlat` (n, 2) degrees, `shapes` (n,).

    `score` (n,) is called `score_name` ("similarity" or "probability"); `first_rank` is 0 where the first is the chip
    that was asked about. Shapes are outlines of chips, or points where no outline is known.
    """

    ids: NDArray[Any]
    rows: NDArray[np.int64]
    lonlat: NDArray[np.float64]
    shapes: NDArray[Any]
    score_name: str
    score: NDArray[np.float64]
    first_rank: int = 1

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def ranks(self) -> NDArray[np.int64]:
        """0 or 1, and so on."""
        return np.arange(self.first_rank, self.first_rank + len(self))

    def write(self, path: Path) -> None:
        """Publish rank, id, row, score, lon, lat and geometry as GeoParquet; raises `Fatal` where it cannot."""
        table = pa.table({
            "rank": self.ranks, "id": pa.array(self.ids.tolist(), pa.string()), "row": self.rows,
            self.score_name: self.score, "lon": self.lonlat[:, 0], "lat": self.lonlat[:, 1],
            "geometry": pa.array(shapely.to_wkb(self.shapes), pa.binary()),
        }).replace_schema_metadata(self._about())  # fmt: skip
        durable.publish(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))

    def _about(self) -> dict[str, str]:
        kind = self.shapes[0].geom_type if len(self) else "Polygon"
        bbox = {"bbox": shapely.total_bounds(self.shapes).tolist()} if len(self) else {}
        return geo_header(kind, **bbox, crs=WGS84)

    def table(self) -> str:
        """As text, a line for each."""
        lines = [f"{'rank':>4}  {self.score_name:>11}  {'lon':>9}  {'lat':>8}  {'row':>8}  id"]
        for rank, score, (lon, lat), row, name in zip(
            self.ranks, self.score, self.lonlat, self.rows, self.ids, strict=True
        ):
            lines.append(f"{rank:>4}  {score:>11.4f}  {lon:>9.4f}  {lat:>8.4f}  {row:>8}  {name}")
        return "\n".join(lines)
