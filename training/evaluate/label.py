"""The labels of `training.data.label` by the name that they had here first."""

from __future__ import annotations

from training.data.label import Labels, labels_of, own_label

__all__ = ["Labels", "labels_of", "own_label"]
