"""All encoders of a source of weights: the one of most methods, or one for each sensor of a contrastive run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from training.weights.download import digest_of
from training.weights.pretrained import Pretrained
from training.weights.weights import WEIGHTS, load_encoder, located

_OF_SENSORS = "encoder-*.safetensors"


@dataclass(frozen=True)
class WeightFiles:
    """The files of one or more encoders, in the order of their names."""

    paths: tuple[Path, ...]

    @property
    def digest(self) -> str:
        """SHA-256 as hexadecimal digits: of the file, or of the digests of several, one a line."""
        digests = [digest_of(path) for path in self.paths]
        return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def load(self) -> tuple[Pretrained, ...]:
        """The encoders, on the CPU; raises `Fatal` for a file that is damaged or holds none."""
        return tuple(load_encoder(path) for path in self.paths)


def weight_files(source: str | Path) -> WeightFiles:
    """The files at `source`: what `load_encoder` takes, or the folder of a run with a file for each sensor.

    Raises `Fatal` where there are no weights, and `Transient` where a server does not answer.
    """
    folder = Path(source)
    if "://" not in str(source) and folder.is_dir() and not (folder / WEIGHTS).exists():
        of_sensors = tuple(sorted(folder.glob(_OF_SENSORS)))
        if of_sensors:
            return WeightFiles(of_sensors)
    return WeightFiles((located(source, None),))


def load_encoders(source: str | Path) -> tuple[Pretrained, ...]:
    """The encoders at `source`, as `weight_files` finds them: several for a run of the contrastive method."""
    return weight_files(source).load()
