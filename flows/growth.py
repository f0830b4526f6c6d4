"""A corpus that grows: its chips are chosen in steps, the first in the corpus folder, each further one below it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flows.settings import SAVED_AS, Settings, saved
from pipeline import durable
from pipeline.corpus_folder import EXTENSIONS, LOCATIONS, MANIFEST, PROVENANCE
from pipeline.errors import Fatal
from pipeline.manifest import Manifest
from pipeline.progress import Progress
from pipeline.rows import GatheredRows
from pipeline.seal import SEAL
from sampling.dropped import DROPPED
from sampling.points import read_lonlat
from sampling.sample import Sample
from sampling.settled import Settled

REJECTED = "rejected.parquet"
# The settings that another step may give otherwise: no place that is there would be another by them.
_MAY_CHANGE = (
    "sampling.locations", "sampling.strategy", "sampling.regions", "sampling.column", "sampling.weights",
    "sampling.points", "sampling.radius_km", "sampling.overdraw", "sampling.overlap",
)  # fmt: skip
_MAY_CHANGE_ALL = "anchor."
_WHAT_MAY = "to grow, a corpus may change where and how many its places are (not sampling.exclude), and [anchor]"
_OTHER_FILES = "describe other files, or those that came later, as a corpus of their own, and `geocorpus merge` both"


@dataclass(frozen=True)
class Step:
    """A choice of chips in the folder of a corpus: number 0 made it, each further one extends its manifest."""

    corpus: Path
    number: int

    @property
    def folder(self) -> Path:
        """Where the candidates, quotas, answers and rejected places of this step are."""
        return self._own_folder if self.number else self.corpus

    @property
    def _own_folder(self) -> Path:
        return self.corpus / EXTENSIONS / f"{self.number:03d}"

    @property
    def sampled(self) -> bool:
        """Whether its candidates are there."""
        return (self.folder / LOCATIONS).exists()

    @property
    def frozen(self) -> bool:
        """Whether its chips are in the manifest."""
        path = self.corpus / MANIFEST
        return path.exists() and len(Manifest.read(path).ancestors) >= self.number

    @property
    def settings(self) -> Settings | None:
        """Those with which it was begun; None where none were saved."""
        own = self._own_folder / SAVED_AS
        return saved(own if own.exists() else self.corpus / SAVED_AS)

    def begin(self, settings: Settings) -> None:
        """Save the settings: those of the first step are put aside, then the folder gets the new ones, then the step.

        Killed in between, the same command begins anew. Raises `Fatal` when the folder cannot be written to.
        """
        first, current = Step(self.corpus, 0)._own_folder / SAVED_AS, self.corpus / SAVED_AS
        if self.number and current.exists() and not first.exists():
            durable.write_bytes(first, current.read_bytes())
        settings.save()
        if self.number:
            settings.save(self._own_folder / SAVED_AS)

    def before(self) -> Iterator[Step]:
        """The earlier steps, the first one first."""
        return (Step(self.corpus, number) for number in range(self.number))

    def freeze(self, rows: GatheredRows, seed: int) -> None:
        """Write the manifest with the rows of this step. Raises `Fatal` as `Manifest.freeze_rows` and `extended`."""
        path = self.corpus / MANIFEST
        manifest = Manifest.read(path).extended(rows, seed) if self.number else Manifest.freeze_rows(rows, seed)
        manifest.write(path)


def last_step(folder: Path) -> Step:
    """The step that was begun last: what the manifest has grown by counts, even where its folder is lost."""
    numbers = [int(path.parent.name) for path in folder.glob(f"{EXTENSIONS}/[0-9]*/{SAVED_AS}")]
    path = folder / MANIFEST
    return Step(folder, max([len(Manifest.read(path).ancestors) if path.exists() else 0, *numbers]))


def next_step(settings: Settings) -> Step:
    """The step that `sample` is to make, or the last one if there is no more to choose."""
    last = last_step(settings.folder)
    if last.frozen and (changes(settings) or _has_new_points(last, settings)):
        return Step(settings.folder, last.number + 1)
    return last


def changes(settings: Settings) -> list[str]:
    """The settings that choose other chips than those of the last step, as "section.key", sorted."""
    before, now = _of_last(settings.folder), settings.deciding()
    return sorted(key for key in now if before and before.get(key) != now[key])


def _of_last(folder: Path) -> dict[str, Any]:
    begun = last_step(folder).settings
    return begun.deciding() if begun else {}


def refuse_changes(settings: Settings) -> None:
    """Raise `Fatal` when the folder was begun with settings that choose other chips."""
    refuse_no_growth(settings)
    for key in changes(settings):
        raise Fatal(f"{_begun(settings, key)}; `geocorpus sample` with it makes the corpus grow, or put it back.")


def refuse_no_growth(settings: Settings) -> None:
    """Raise `Fatal` when the folder was begun with settings that choose other chips, and not more of them."""
    changed = changes(settings)
    for key in changed:
        if not settings.samples_places:
            raise Fatal(f"{_begun(settings, key)}; put it back: a corpus from files does not grow, so {_OTHER_FILES}.")
        if key not in _MAY_CHANGE and not key.startswith(_MAY_CHANGE_ALL):
            raise Fatal(f"{_begun(settings, key)}; put it back, or give another corpus.folder: {_WHAT_MAY}.")
    if changed and not last_step(settings.folder).frozen:
        raise Fatal(
            f"{_begun(settings, changed[0])}, and its places are not anchored yet; put it back and run `geocorpus "
            "anchor`, after which it can grow, or give another corpus.folder."
        )
    if "sampling.locations" in changed:
        _refuse_shrinking(settings)


def say_no_new_files(step: Step, progress: Progress) -> None:
    """Say that files which came after those of a frozen manifest are not looked for, and what to do."""
    if step.frozen:
        progress.say(f"{step.corpus} keeps to the files that it was made of; {_OTHER_FILES}.")


def refuse_composed(folder: Path) -> None:
    """Raise `Fatal` for a corpus that was put together from others: what they drew and rejected is not known here."""
    if (folder / PROVENANCE).exists():
        raise Fatal(
            f"the chips of {folder} come from other corpora, which {PROVENANCE} names, and it does not grow by itself; "
            "let one of those grow, and convert or merge again."
        )


def refuse_without_settings(folder: Path) -> None:
    """Raise `Fatal` for a finished corpus without its settings, as it is published: nobody can add to it by them."""
    if (folder / SEAL).exists() and not (folder / SAVED_AS).exists():
        raise Fatal(
            f"{folder} has no {SAVED_AS}, as what is published, so that neither chips nor layers can be added to it; "
            "add them to the corpus from which it was made, and publish that again."
        )


def _refuse_shrinking(settings: Settings) -> None:
    key, begun = "sampling.locations", last_step(settings.folder).settings
    if begun is None or settings.sampling.points or begun.sampling.points:  # a table of points says how many they are
        return
    if settings.deciding()[key] < begun.deciding()[key]:
        raise Fatal(f"{_begun(settings, key)}; a corpus does not shrink: put it back, or give another corpus.folder.")


def _begun(settings: Settings, key: str) -> str:
    before, now = _of_last(settings.folder).get(key), settings.deciding()[key]
    return f"{settings.folder} was begun with {key} = {before!r}, not {now!r}"


def refuse_nothing(step: Step, drawn: Sample) -> None:
    """Raise `Fatal` for an extension by no place, before it is begun."""
    if step.number and not drawn.allocation.total:
        have = len(Manifest.read(step.corpus / MANIFEST))
        raise Fatal(f"{step.corpus} has {have} chips, as many as are asked for; ask for more in sampling.locations.")


def settled(step: Step, settings: Settings) -> Settled:
    """The chips before this step, and the places that the same rules have rejected. Raises `Fatal` as reading does."""
    if not step.number:
        return Settled()
    manifest = Manifest.read(step.corpus / MANIFEST)
    lonlat = np.column_stack([manifest.column("lon"), manifest.column("lat")])
    useless = [_lonlat(earlier.folder / REJECTED) for earlier in step.before() if _same_rules(earlier, settings)]
    stratum, split = manifest.column("stratum"), manifest.column("split")
    return Settled(lonlat, split, stratum, np.concatenate([np.empty((0, 2)), *useless]))


def ground(settings: Settings) -> Settled:
    """The places to which `sample` would add others; none where it would begin, or has nothing to do."""
    step = next_step(settings)
    return Settled() if step.sampled else settled(step, settings)


def _same_rules(step: Step, settings: Settings) -> bool:
    of = step.settings
    return of is not None and of.anchor.model_copy(update={"batch": settings.anchor.batch}) == settings.anchor


def _has_new_points(last: Step, settings: Settings) -> bool:
    """Whether the owner's table has places that no step has seen."""
    path = settings.sampling.points
    if path is None or settings.sampling.radius_km is not None or not path.exists():
        return False
    seen = [_lonlat(step.folder / name) for step in (*last.before(), last) for name in (LOCATIONS, DROPPED)]
    return not Settled(np.concatenate(seen)).knows(read_lonlat(path)).all()


def _lonlat(path: Path) -> NDArray[np.float64]:
    """The places (n, 2), degrees, of a table with the columns lon and lat; none without the file."""
    if not path.exists():
        return np.empty((0, 2))
    names = ["lon", "lat"]
    table = pd.read_csv(path, usecols=names) if path.suffix == ".csv" else pd.read_parquet(path, columns=names)
    return table[names].to_numpy(dtype=np.float64)


def carry_spool(spool: Path, manifest: Manifest) -> None:
    """Chips that were pulled for an earlier state of a manifest are those of the same rows of this one."""
    for state in reversed(manifest.ancestors):
        old, new = (spool / digest[:16] for digest in (state.digest, manifest.digest))
        if old.is_dir() and not new.exists():
            old.rename(new)
