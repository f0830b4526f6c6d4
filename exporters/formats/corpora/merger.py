"""Several corpora as one: the same grid of chips, distinct places, and a manifest frozen anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exporters.formats.convert import put_out
from exporters.formats.corpora.assembly import assemble
from exporters.formats.corpora.composition import Composition
from exporters.formats.corpora.footprints import Footprints
from exporters.formats.corpora.interleaving import interleaved
from exporters.formats.corpora.layer_union import layers_of_all
from exporters.formats.corpora.leakage import Leakage, leakage
from exporters.formats.corpora.repeated import first_of_each, refuse_repeated
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.progress import Progress


@dataclass(frozen=True)
class Merger:
    """How to merge: `layers` by name (none: all), whether of repeated places the first is kept, and the order's seed.

    `buffer_m` is how far chips of different splits should be apart.
    """

    layers: Sequence[str] = ()
    keep_first: bool = False
    buffer_m: float = 0.0
    seed: int = 0

    def write(self, corpora: Sequence[Corpus], target: Path, overwrite: bool, progress: Progress) -> str:
        """Write the merger to `target`, all or nothing; returns a line about it.

        Raises `Fatal` for a target that exists (unless `overwrite`), for corpora that do not go together or have places
        in common, and for a shard that is not finished or is damaged.
        """

        def write(draft: Path) -> str:
            composition, leaks = self.plan(corpora)
            if leaks.pairs:
                progress.say(leaks.sentence)
            shard_rows = corpora[0].shard_rows
            return _line(assemble(composition, draft, shard_rows, "merge", progress), composition)

        return put_out(corpora, target, overwrite, write)

    def plan(self, corpora: Sequence[Corpus]) -> tuple[Composition, Leakage]:
        """What becomes of the corpora, and how near their splits are. Raises `Fatal` where they do not go together."""
        _refuse_other_grids(corpora)
        layers = layers_of_all(corpora, self.layers)
        grounds = [Footprints.of(corpus.manifest) for corpus in corpora]
        kept = first_of_each(corpora, grounds)
        if not self.keep_first:
            refuse_repeated(corpora, kept)
        which, rows = interleaved([corpus.manifest for corpus in corpora], kept, self.seed)
        return Composition(tuple(corpora), which, rows, layers), leakage(corpora, grounds, kept, self.buffer_m)


def _refuse_other_grids(corpora: Sequence[Corpus]) -> None:
    first = corpora[0].manifest
    for corpus in corpora[1:]:
        size_px, resolution_m = corpus.manifest.size_px, corpus.manifest.resolution_m
        if (size_px, resolution_m) != (first.size_px, first.resolution_m):
            raise Fatal(
                f"chips of {corpus.folder} have {size_px} px of {resolution_m:g} m, and those of {corpora[0].folder} "
                f"{first.size_px} px of {first.resolution_m:g} m; only corpora of one grid can be merged."
            )


def _line(made: Corpus, composition: Composition) -> str:
    count = len(composition.sources)
    left_out = sum(len(item.manifest) for item in composition.sources) - len(composition)
    rest = f" {left_out} repeated chips were left out." if left_out else ""
    what = f"{len(made.manifest)} chips of {count} corpora with {len(made.modalities)} layers"
    return f"{what} in {len(made.shards)} shards, finished and sealed.{rest}"
