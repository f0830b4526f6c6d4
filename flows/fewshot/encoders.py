"""The encoders that are compared, as their files have them, and the same without any training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flows.fewshot.plan import Named, Plan
from pipeline.corpus import Corpus

if TYPE_CHECKING:
    from training.weights.pretrained import Pretrained

RANDOM, ALONE = "random weights", "one sensor alone"


@dataclass(frozen=True)
class Loaded:
    """Encoders from one source, with the digest of their files."""

    name: str
    pretrained: tuple[Pretrained, ...]
    digest: str

    @classmethod
    def of(cls, named: Named) -> Loaded:
        """Raises `Fatal` where there are no weights, or they are damaged."""
        from training.weights.encoders import weight_files

        files = weight_files(named.source)
        return cls(named.name, files.load(), files.digest)

    def untrained(self, seed: int) -> Loaded:
        """The same architecture with initial weights drawn by `seed`."""
        from training.evaluate.probed import untrained

        def fresh(item: Pretrained) -> Pretrained:
            init_std = item.facts.get("config", {}).get("init_std", "fixed")
            return replace(item, encoder=untrained(item.encoder, seed, init_std))

        digest = hashlib.sha256(f"random {seed} {self.digest}".encode()).hexdigest()
        return Loaded(RANDOM, tuple(fresh(item) for item in self.pretrained), digest)

    @property
    def layers(self) -> frozenset[str]:
        """The layers that it looks at, or was trained to tell."""
        told = {name for item in self.pretrained for name in item.facts.get("config", {}).get("targets") or ()}
        return frozenset(told | {name for item in self.pretrained for name in item.normalisation.band_names})

    @property
    def steps(self) -> int | None:
        """How many steps it was trained for, where its files say so."""
        found = {item.facts.get("step") for item in self.pretrained}
        return found.pop() if len(found) == 1 else None


def loaded(plan: Plan) -> list[Loaded]:
    """The encoders that are named, in their order; raises `Fatal` where one cannot be loaded."""
    alone = [Named(ALONE, plan.alone)] if plan.alone else []
    return [Loaded.of(named) for named in (*plan.weights, *alone)]


def centre_px(encoders: Sequence[Loaded], corpus: Corpus) -> int:
    """The edge of the centre of a chip that every encoder looks at, which labels are about."""
    from training.evaluate.embedder import Embedder

    sensors = [sensor for item in encoders for sensor in Embedder.of(item.pretrained).sensors]
    return min(sensor.chip_px(corpus.manifest.size_px) for sensor in sensors)
