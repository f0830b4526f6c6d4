"""EuroSAT as the probes want it: real Sentinel-2 images with a class each, bands by name, in numbers of its own."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image

# The order of the files' bands: B8A comes last, and bands 9 to 12 keep their plain numbers.
BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "B10", "B11", "B12", "B8A")
RGB = ("B4", "B3", "B2")
MULTISPECTRAL, COLOUR = "ms", "eurosat_rgb_subset_5000.tar"


@dataclass(frozen=True)
class Scenes:
    """`images` (n, bands, 64, 64) float32 in the files' own numbers, `bands` by Sentinel-2's names, `classes` (n,)."""

    images: NDArray[np.float32]
    bands: tuple[str, ...]
    classes: NDArray[np.int64]

    def normalised(self, bands: Sequence[str]) -> NDArray[np.float32]:
        """`bands` in this order, with mean 0 and deviation 1 per band over all images.

        The moments are EuroSAT's own: another sensor level, another scaling to 8 bits, or another planet changes
        brightness and contrast, which is not what a probe is to measure. No class is looked at.
        """
        chosen = self.images[:, [self.bands.index(band) for band in bands]]
        mean, std = (getattr(chosen, part)(axis=(0, 2, 3), keepdims=True) for part in ("mean", "std"))
        whole: NDArray[np.float32] = (chosen - mean) / np.maximum(std, 1e-6)
        return whole


def multispectral(folder: Path) -> Scenes:
    """The 100 images of 13 Level 1C bands below `folder`/ms/CLASS/."""
    paths = sorted((folder / MULTISPECTRAL).glob("*/*.tif"))
    images = []
    for path in paths:
        with rasterio.open(path) as source:
            images.append(source.read().astype(np.float32))
    return Scenes(np.stack(images), BANDS, _numbered([path.parent.name for path in paths]))


def colour(folder: Path) -> Scenes:
    """The 5,000 jpgs in true colour of the tar in `folder`."""
    images, names = [], []
    with tarfile.open(folder / COLOUR) as tar:
        members = sorted((one for one in tar.getmembers() if one.name.endswith(".jpg")), key=lambda one: one.name)
        for member in members:
            with Image.open(io.BytesIO(_content(tar, member))) as image:
                images.append(np.asarray(image.convert("RGB"), dtype=np.float32).transpose(2, 0, 1))
            names.append(member.name.split("/")[-2])
    return Scenes(np.stack(images), RGB, _numbered(names))


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    return stream.read() if stream else b""


def _numbered(names: list[str]) -> NDArray[np.int64]:
    return np.unique(names, return_inverse=True)[1].astype(np.int64)
