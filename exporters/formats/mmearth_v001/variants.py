"""The published variants: how their folder and files are called, their tiles' size, and how many they have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Variant:
    """`stem` is what the readers ask for by name. `size_px` is the side of a tile, None for that of the chips.

    `most` is the largest number of tiles, None for no limit.
    """

    stem: str
    size_px: int | None = None
    most: int | None = None

    def files(self, root: Path) -> Files:
        """The four files under `root`, the folder that TorchGeo is given."""
        return Files(root / self.stem, self.stem)


@dataclass(frozen=True)
class Files:
    """The four files in `folder`, the one that MMEarth-train is given; `stem` begins each of their names."""

    folder: Path
    stem: str

    @property
    def arrays(self) -> Path:
        """`<stem>.h5`: the datasets."""
        return self.folder / f"{self.stem}.h5"

    @property
    def band_stats(self) -> Path:
        """`<stem>_band_stats.json`: mean, std, min and max of bands."""
        return self.folder / f"{self.stem}_band_stats.json"

    @property
    def splits(self) -> Path:
        """`<stem>_splits.json`: row numbers of train, val and test."""
        return self.folder / f"{self.stem}_splits.json"

    @property
    def tile_info(self) -> Path:
        """`<stem>_tile_info.json`: what is known of each tile, by its id."""
        return self.folder / f"{self.stem}_tile_info.json"

    @property
    def all(self) -> set[Path]:
        """The four."""
        return {self.arrays, self.band_stats, self.splits, self.tile_info}


VARIANTS = {
    "1M": Variant("data_1M_v001"),
    "64": Variant("data_1M_v001_64", size_px=64),
    "100k": Variant("data_100k_v001", most=100_000),
}


def tiles_left(root: Path) -> set[str]:
    """What is of the published variants in `root`: their folders, where these hold nothing but the four files."""
    found = [variant.files(root) for variant in VARIANTS.values() if variant.files(root).arrays.is_file()]
    return {files.folder.name for files in found if set(files.folder.iterdir()) <= files.all}
