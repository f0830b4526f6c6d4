"""The training runs that the explorer shows: those in the corpus's own folder, and those that were named to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.viewer.search import row_with
from flows.viewer.training_run import RUN, TrainingRun
from pipeline.corpus import Corpus
from pipeline.errors import Fatal, unknown_name
from pipeline.lock import RUNS


@dataclass
class TrainingRuns:
    """The runs of a corpus, and in `named` those of other folders; looked for anew at each call, as they may begin.

    Raises `Fatal` for a named folder without a run, or with one on another corpus.
    """

    corpus: Corpus
    named: tuple[Path, ...] = ()
    _known: dict[Path, TrainingRun] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for folder in self.named:
            self._refuse(folder)

    def listed(self) -> list[dict[str, Any]]:
        """Name of each run, and when it was written to last (seconds since 1970), for JSON; the newest first."""
        runs = [{"name": name, "changed_at": run.changed_at} for name, run in self._all().items()]
        return sorted(runs, key=lambda run: (-run["changed_at"], run["name"]))

    def __getitem__(self, name: str) -> TrainingRun:
        """A run by the name that `listed` gives; raises `Fatal` for another."""
        runs = self._all()
        if name not in runs:
            raise unknown_name("training run", name, list(runs))
        return runs[name]

    def told(self, name: str) -> dict[str, Any]:
        """What a run tells, for JSON, with the rows of the chips in its pictures: null where this corpus lacks one."""
        told = self[name].told()
        return told | {"drawn": [{"id": chip, "row": row_with(self.corpus, chip)} for chip in told["drawn"]]}

    def _all(self) -> dict[str, TrainingRun]:
        """Runs by name; of several folders of one name, the later ones have a number."""
        result: dict[str, TrainingRun] = {}
        for folder in dict.fromkeys((*self._own(), *(path.resolve() for path in self.named))):
            name, number = folder.name, 1
            while name in result:
                number += 1
                name = f"{folder.name} ({number})"
            result[name] = self._known.setdefault(folder, TrainingRun(name, folder))
        return result

    def _own(self) -> list[Path]:
        """Folders of runs in the corpus; links to other places are followed only where they are named."""
        whole = self.corpus.folder.resolve()
        found = sorted(path.parent.resolve() for path in (self.corpus.folder / RUNS).glob(f"*/{RUN}"))
        return [folder for folder in found if folder.is_relative_to(whole)]

    def _refuse(self, folder: Path) -> None:
        if not (folder / RUN).is_file():
            raise Fatal(f"{folder} is no training run: it has no {RUN}; give the folder of one, as --run runs/NAME.")
        about = TrainingRun(folder.name, folder).about()
        trained_on = {about.get("manifest"), *_manifests(about.get("corpora"))}
        if not trained_on & self.corpus.manifest.lineage:
            raise Fatal(f"{folder} is a run on another corpus than {self.corpus.folder}; give one on this.")


def _manifests(corpora: Any) -> set[str]:
    """The manifests of a run on several corpora."""
    parts = corpora if isinstance(corpora, list) else []
    return {str(part["manifest"]) for part in parts if isinstance(part, dict) and "manifest" in part}
