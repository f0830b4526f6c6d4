"""Features of the patches of chips by the encoders of one run: a map for each chip and sensor."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from training.evaluate.embedder import BATCH_ROWS, Embedder, channels_of, kept_of
from training.evaluate.embedding_stream import Embedded, EmbeddingStream
from training.evaluate.encoder_view import EncoderView
from training.weights.pretrained import Pretrained


@dataclass(frozen=True)
class PatchEmbedder:
    """One encoder, or the towers of one contrastive run, as what makes a map of features of each chip.

    Features of patches are those of the last stage or block; those of different sensors are not in one space.
    """

    sensors: tuple[EncoderView, ...]
    device: torch.device

    @classmethod
    def of(cls, pretrained: Sequence[Pretrained], device: torch.device | None = None) -> PatchEmbedder:
        """As `Embedder.of`; raises `Fatal` as that does, and for an encoder without a site for each patch."""
        for item in pretrained:
            item.encoder.refuse_unpadded("a map of features")
        embedder = Embedder.of(pretrained, device)
        shapes = {(sensor.encoder.width, sensor.encoder.patch_px) for sensor in embedder.sensors}
        if len(shapes) > 1:
            raise Fatal("the encoders of these sensors have patches of other sizes; give those of one run.")
        return cls(embedder.sensors, embedder.device)

    @property
    def views(self) -> tuple[str, ...]:
        """A view by each encoder, called as its layers."""
        return tuple(sensor.name for sensor in self.sensors)

    def shape(self, size_px: int) -> tuple[int, ...]:
        """The shape of what a chip of `size_px` gets: (width, y, x)."""
        side = self.image_px(size_px) // self.pixel_px
        return (self.width, side, side)

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self.sensors[0].encoder.width

    @property
    def pixel_px(self) -> int:
        """The edge of a patch, in pixels of a chip."""
        return self.sensors[0].encoder.patch_px

    def image_px(self, size_px: int) -> int:
        """The edge of the centre that is looked at, of chips of `size_px`: all whole patches."""
        return self.sensors[0].patches_px(size_px)

    @property
    def channels(self) -> dict[str, tuple[str, ...]]:
        """The channels that each view looks at, such as "sentinel2.B8"."""
        return channels_of(self.sensors, self.views)

    def narrowed(self, without: Collection[str]) -> tuple[Self, tuple[str, ...]]:
        """As `Embedder.narrowed`."""
        embedder, rest = Embedder(self.sensors, self.device).narrowed(without)
        return replace(self, sensors=embedder.sensors), rest

    def embed(
        self, corpus: Corpus, rows: NDArray[np.int64], without: Collection[str] = (), batch_rows: int = BATCH_ROWS
    ) -> Mapping[str, NDArray[np.float32]]:
        """Maps (rows, width, y, x) float32 of the chips in manifest `rows`, one or more, by view; NaN as for chips.

        Raises as `Embedder.embed` does.
        """
        jobs = np.split(rows, range(batch_rows, len(rows), batch_rows))
        parts = [item.vectors for item in self.embed_each(corpus, jobs, without)]
        return {view: np.concatenate([part[view] for part in parts]) for view in self.views}

    def embed_each(
        self, corpus: Corpus, jobs: Sequence[NDArray[np.int64]], without: Collection[str] = ()
    ) -> Iterator[Embedded]:
        """Each of `jobs`, manifest rows (rows,) int64, with maps (rows, width, y, x) float32; see `Embedder.embed`."""
        stream = EmbeddingStream(
            self.sensors, self.device, kept_of(self.sensors, without),
            lambda sensor: sensor.patches_px(corpus.manifest.size_px), EncoderView.of_patches, lambda views: views,
        )  # fmt: skip
        return stream.of(corpus, jobs)
