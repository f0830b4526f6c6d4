"""Verify a corpus and mend it: what is wrong, what was mended, and what to run next."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline import repair as mending
from pipeline import verification
from pipeline.corpus_folder import no_corpus
from pipeline.errors import Fatal
from pipeline.fault import Fault, Remedy
from pipeline.imported import Imported
from pipeline.lock import locked
from pipeline.manifest import Manifest
from pipeline.modality import Modality
from pipeline.progress import Progress
from pipeline.verification import Verification


@dataclass(frozen=True)
class Outcome:
    """What was found, what of it is mended already, and the commands to run next."""

    found: Verification
    mended: tuple[Fault, ...] = ()
    next_steps: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "folder": str(self.found.folder), "objects": self.found.finished, "unfinished": self.found.unfinished,
            "sealed": self.found.seal is not None, "faults": [_plain(fault) for fault in self.found.faults],
            "mended": [_plain(fault) for fault in self.mended], "notes": self.found.notes, "next": self.next_steps,
        }  # fmt: skip

    def text(self) -> str:
        """For a person: a line for each fault, mended ones first."""
        lines = [f"Mended: {fault.what} {fault.wrong}." for fault in self.mended]
        if self.found.faults:
            count = len(self.found.faults)
            lines += [f"{count} fault{'s' * (count > 1)} in {self.found.folder}:", *map(str, self.found.faults)]
        else:
            lines.append(_praise(self.found))
        return "\n".join([*lines, *self.found.notes, *(f"Next: {step}" for step in self.next_steps)])


def _plain(fault: Fault) -> dict[str, str]:
    return {"what": fault.what, "wrong": fault.wrong, "remedy": fault.remedy.value}


def _praise(found: Verification) -> str:
    sealed = ", and all that is small is as it was sealed" if found.seal else ""
    pending = f" {found.unfinished} are not there yet." if found.unfinished else ""
    return f"{found.finished} stored objects are as the ledger says{sealed}.{pending}"


def verify(folder: Path, progress: Progress) -> Outcome:
    """Check everything that is stored. Raises `Fatal` when there is no corpus."""
    found = verification.verify(folder, progress)
    return Outcome(found, next_steps=tuple(_steps(found)))


def _steps(found: Verification) -> Iterable[str]:
    remedies = {fault.remedy for fault in found.faults}
    if remedies & {Remedy.REWRITE, Remedy.EXPORT}:
        yield f"geocorpus verify {found.folder} --repair"
    if Remedy.EXPORT in remedies:
        yield from _to_finish(found.folder)


def _to_finish(folder: Path) -> tuple[str, ...]:
    imported = Imported.read(folder)
    if imported:
        return (imported.command(folder),)
    return f"geocorpus export {folder}", f"geocorpus finalize {folder}"


def repair(folder: Path, progress: Progress) -> Outcome:
    """Mend what can be mended here, holding the corpus. Raises `Fatal` when there is none or somebody else holds it."""
    if not folder.is_dir():
        raise no_corpus(folder)
    with locked(folder, progress.say):
        done = mending.repair(folder, progress, partial(_known, folder))
    marked = any(fault.remedy is Remedy.EXPORT for fault in done.mended)
    return Outcome(done.found, tuple(done.mended), _to_finish(folder) if marked else ())


def _known(folder: Path, manifest: Manifest) -> Mapping[str, Modality]:
    """The layers that the settings ask for; none where the settings cannot be read."""
    from exporters import catalog  # here, as verifying alone needs none of it
    from flows.settings import load

    try:
        corpus = load(str(folder)).corpus
        layers = catalog.of_manifest(manifest, corpus.modalities or None, corpus.modality_files)
    except Fatal:
        return {}
    return {layer.name: layer for layer in layers}


def show(outcome: Outcome, as_json: bool) -> None:
    """Print what was found; raises `Fatal` with all of it where something is wrong."""
    if as_json:
        print(json.dumps(outcome.to_json()))
    if not outcome.found.faults:
        if not as_json:
            print(outcome.text())
        return
    count = len(outcome.found.faults)
    raise Fatal(f"{count} faults in {outcome.found.folder}." if as_json else outcome.text())
