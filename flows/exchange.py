"""Corpora out and in: a selection of a corpus in another format, and a corpus from what has another format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from exporters import catalog
from exporters.formats.choice import Choice
from exporters.formats.convert import write_out
from exporters.formats.format import format_of
from exporters.formats.importer import Incoming, importer_of
from exporters.pull.intake import Intake
from flows import stages
from flows.closing import Closing
from flows.settings import SAVED_AS, Settings, as_typed, load, with_overrides
from pipeline.corpus import Corpus
from pipeline.corpus_folder import LOCATIONS, MANIFEST
from pipeline.errors import Fatal
from pipeline.imported import Imported
from pipeline.lock import locked
from pipeline.manifest import Manifest
from pipeline.progress import Progress

FILES, DESCRIPTION = "files", "files.toml"


def convert(
    folder: Path, target: Path, to: str, choice: Choice, options: Iterable[str], overwrite: bool, progress: Progress
) -> str:
    """Write a selection of the corpus in `folder` to `target` in the format `to`; returns a line about it.

    `options` are "key=value". Raises `Fatal` for what cannot be understood, opened or written.
    """
    given = options_of(options)
    return write_out(format_of(to, given), choice.of(Corpus.open(folder)), target, given, overwrite, progress)


def import_corpus(
    source: Path, folder: Path, form: str | None, options: Iterable[str], overrides: Sequence[str], progress: Progress
) -> str:
    """Make the corpus in `folder` of what `source` holds, or go on with it; returns closing lines.

    `form` is the format's name, or None for the one that recognises the source. A TOML file, or a folder with one
    called `DESCRIPTION`, describes files, and is built as `build` does. `options` are "key=value";
    `overrides` are settings of the corpus. Raises `Fatal` for a source that cannot be taken, before anything is
    written, and for a folder that holds another corpus.
    """
    description = source / DESCRIPTION if source.is_dir() else source
    if form == FILES or (form is None and description.suffix == ".toml" and description.exists()):
        return _build_from_files(description, folder, overrides, progress)
    if (source / MANIFEST).exists():
        raise Fatal(f"{source} is a corpus already; `geocorpus merge` and `geocorpus convert` make others of it.")
    given = options_of(options)
    chosen = importer_of(source, form, given)
    incoming = _completed(chosen.open(source, given, {layer.name: layer for layer in catalog.everything()}))
    layers = tuple(layer.name for layer in incoming.layers)
    about = Imported(str(source.absolute()), chosen.name, given, layers, incoming.unknown)
    settings = _settings(folder, incoming, overrides)
    _refuse_other(folder, about, incoming.manifest)
    with locked(folder, progress.say):
        _take_in(incoming, about, settings, progress)
        stages.finalize(settings, progress)
    return _closing(settings, incoming)


def _completed(incoming: Incoming) -> Incoming:
    """With the classes that layers of the catalogue have from the manifest."""
    bound = [
        catalog.bound([layer], incoming.manifest)[0] if layer.source is not None else layer for layer in incoming.layers
    ]
    return replace(incoming, layers=tuple(bound))


def _build_from_files(description: Path, folder: Path, overrides: Sequence[str], progress: Progress) -> str:
    """All stages of a corpus that a TOML file describes as made of files: the same as `build` with this folder."""
    settings = load(str(description), [*overrides, f"corpus.folder={folder}"])
    if not settings.uses_files:
        raise Fatal(f'{description} does not describe files; set source.kind = "files", or run `geocorpus build`.')
    stages.check(settings, "build")
    with locked(folder, progress.say), stages.earth_engine(settings) as engine:
        stages.sample(settings, None, progress)
        stages.anchor(settings, engine, progress)
        stages.export(settings, engine, progress)
        return stages.finalize(settings, progress)


def _take_in(incoming: Incoming, about: Imported, settings: Settings, progress: Progress) -> None:
    """What says that the folder is an import comes first: from then on the same command goes on with it."""
    folder, corpus = settings.folder, settings.corpus
    about.write(folder)
    if not (folder / MANIFEST).exists():
        incoming.manifest.write(folder / MANIFEST)
    manifest = Manifest.read(folder / MANIFEST)
    store = Corpus.create(folder, incoming.layers, corpus.shard_rows, corpus.store, manifest)
    settings.save()
    for sentence in incoming.unknown:
        progress.say(sentence)
    Intake(incoming, store).run(progress)


def _settings(folder: Path, incoming: Incoming, overrides: Sequence[str]) -> Settings:
    """Those of the folder, or new ones in which the corpus is what comes in."""
    if (folder / SAVED_AS).exists():
        return load(str(folder), overrides)
    names = [layer.name for layer in incoming.layers]
    corpus = {"folder": str(folder), "size_px": incoming.manifest.size_px, "modalities": names}
    return with_overrides({"corpus": corpus}, overrides)


def _refuse_other(folder: Path, about: Imported, manifest: Manifest) -> None:
    """Raise `Fatal` unless the folder is free, or holds this import."""
    known = Imported.read(folder) if folder.is_dir() else None
    if known is None and ((folder / MANIFEST).exists() or (folder / LOCATIONS).exists()):
        raise Fatal(f"{folder} holds a corpus that was not imported; choose another folder.")
    if known and (known.format, known.options) != (about.format, about.options):
        raise Fatal(f"{folder} was begun with `{known.command(folder)}`; type that, or choose another folder.")
    if (folder / MANIFEST).exists() and Manifest.read(folder / MANIFEST) != manifest:
        raise Fatal(f"{folder} holds other chips than {about.source}; choose another folder.")


def _closing(settings: Settings, incoming: Incoming) -> str:
    chips, folder = len(incoming.manifest), settings.folder
    done = f"{chips} chips with {len(incoming.layers)} layers are in {folder}."
    text = f"{done} Next: {stages.program()} pretrain {as_typed(folder)}"
    return Closing.of(text, done=done, chips=chips, unknown=list(incoming.unknown))


def options_of(texts: Iterable[str]) -> dict[str, str]:
    """Options of a format from "key=value"; raises `Fatal` for another text."""
    return dict(_option(text) for text in texts)


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise Fatal(
            f"--set {text!r} is not key=value; `--to help` of convert and `--from help` of import list what may be set."
        )
    return key, value
