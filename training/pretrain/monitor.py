"""How well frozen features of the chips tell a label while a run goes on, beside what its first weights tell."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.errors import Fatal
from training.data.label import Labels, labels_of
from training.model.frozen import frozen_features
from training.model.frozen_scores import frozen_scores
from training.pretext import Pretext
from training.pretrain.exports import exports_of
from training.pretrain.resolved_run import ResolvedRun
from training.pretrain.shared_rows import SharedRows
from training.runtime.device import Device
from training.runtime.distributed_context import DistributedContext


class Monitor:
    """The label `config.monitor` of train rows, for fitting, and of val rows, for testing.

    Raises `Fatal` for a label that the corpus lacks, or that says nothing here.
    """

    def __init__(
        self,
        resolved: ResolvedRun,
        train: NDArray[np.int64],
        val: NDArray[np.int64],
        device: Device,
        context: DistributedContext,
    ) -> None:
        config, rows = resolved.config, np.union1d(train, val)
        labels = labels_of(resolved.corpus, config.monitor, rows, config.image_px)
        self._train, self._val = labels.of(train), labels.of(val)
        _refuse_one_value(config.monitor, self._train, self._val)
        self._resolved, self._device = resolved, device
        self._rows = SharedRows.of(labels.rows, context, config.micro_batch or resolved.loader.batch_size)

    @torch.no_grad()
    def scores(self, net: Pretext) -> dict[str, float]:
        """Scores "knn" and "linear" by the weights of `net`; where it exports several encoders, of each by its name."""
        net.eval()
        features = self._features(net)
        many = len(features) > 1
        return {f"{view}/{name}" if many else name: score
                for view, vectors in features.items() for name, score in self._scored(vectors).items()}  # fmt: skip

    def _features(self, net: Pretext) -> dict[str, NDArray[np.float32]]:
        """Features of all labelled rows, in their order, by each encoder."""
        exported = self._resolved.method.export(net, self._resolved.inputs)
        encoders = {name: encoder for name, encoder, _ in exports_of(self._resolved, net)}
        own: dict[str, list[torch.Tensor]] = {name: [] for name in encoders}
        with closing(self._resolved.loader.centres(self._rows.parts, self._device.place)) as stream:
            for part in stream:
                for name, encoder in encoders.items():
                    with self._device.autocast():
                        own[name].append(frozen_features(encoder, exported[name].inputs, part))
        whole = {name: self._rows.gathered(torch.cat(parts)).cpu().numpy() for name, parts in own.items()}
        return {name.removeprefix("encoder-"): vectors for name, vectors in whole.items()}

    def _scored(self, vectors: NDArray[np.float32]) -> dict[str, float]:
        seen = self._rows.rows[np.isfinite(vectors).all(axis=1)]
        train, val = self._train.of(seen), self._val.of(seen)
        train_x, val_x = (vectors[np.isin(self._rows.rows, item.rows)] for item in (train, val))
        return frozen_scores(train_x, train.values, val_x, val.values)


def _refuse_one_value(name: str, train: Labels, val: Labels) -> None:
    if len(np.unique(train.values, axis=0)) < 2 or not len(val.rows):
        raise Fatal(
            f"pretrain.monitor = {name!r} has fewer than two values in the train chips, or none in the val chips, that "
            "are looked at; choose another label, or raise pretrain.monitor_chips or pretrain.val_chips."
        )
