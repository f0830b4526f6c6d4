"""`geocorpus embed --to embeddings` and `--to geoparquet`: embeddings of chips, which go on where they were stopped."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporters.formats.choice import Choice
from exporters.formats.convert import placing, put_in_place
from exporters.formats.embeddings.description import Description, View
from exporters.formats.embeddings.draft import EmbeddingDraft, begun_beside
from exporters.formats.embeddings.geoparquet import EmbeddingTable
from exporters.formats.embeddings.layout import StoreLayout
from exporters.formats.embeddings.quantization import Scaling
from exporters.formats.embeddings.quantized_store import QuantizedStore
from exporters.formats.embeddings.store import EmbeddingStore
from exporters.formats.format import formats
from flows.embedding_source import Source
from flows.exchange import options_of
from flows.extras import require
from pipeline.corpus import Corpus
from pipeline.errors import Fatal, unknown_name
from pipeline.modality import Modality
from pipeline.progress import Progress

EMBEDDINGS, GEOPARQUET = "embeddings", "geoparquet"
_CHUNK = "chunk_rows"  # any number
_OPTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    EMBEDDINGS: {"dtype": ("float32", "int8"), "scale": ("vector", "dimension"), _CHUNK: ()},
    GEOPARQUET: {_CHUNK: ()},
}
TABLES = tuple(_OPTIONS)  # the ways out of this file
_BATCH_ROWS = 64


@dataclass(frozen=True)
class EmbeddingFile:
    """Where embeddings go: `target`, as `to` with its `options`, "key=value" each, made by so many `processes`."""

    target: Path
    to: str
    options: tuple[str, ...] = ()
    overwrite: bool = False
    processes: int = 1

    def write(self, source: Source, choice: Choice, progress: Progress) -> str:
        """Embed the chips that are chosen, or go on with it; returns a line about it.

        Raises `Fatal` for what cannot be embedded or written, and where something else was begun for the target.
        """
        require("train", "an embedding")
        given = self._given(source)
        corpus = source.corpus()
        with placing([corpus], self.target, self.overwrite):
            layout = _layout(source, corpus, choice, _chunk_rows(given))
            draft = EmbeddingDraft(begun_beside(self.target), layout)
            self._begin(draft)
            self._embed(draft, source, corpus, progress)
            line = self._finish(draft, given)
            draft.discard()
        return line

    def _given(self, source: Source) -> Mapping[str, str]:
        given, known = options_of(self.options), _OPTIONS[self.to]
        for name, value in given.items():
            if name not in known:
                raise unknown_name(f"option of {self.to}", name, known)
            if known[name] and value not in known[name]:
                raise unknown_name(f"value of {name}:", value, known[name])
        if self.to == GEOPARQUET and source.per != "chip":
            raise Fatal("GeoParquet has one vector a line; write patches with --to embeddings, or give --per chip.")
        return given

    def _begin(self, draft: EmbeddingDraft) -> None:
        try:
            draft.begin(self.target)
        except Fatal:
            if not self.overwrite:
                raise
            draft.discard()
            draft.begin(self.target)

    def _embed(self, draft: EmbeddingDraft, source: Source, corpus: Corpus, progress: Progress) -> None:
        missing, rows = draft.missing(), len(draft.layout.rows)
        processes = min(self.processes, len(missing))
        progress.start("embed", rows, draft.done_rows)
        if processes > 1:
            from training.runtime.launch import together

            layout = draft.layout
            share = Share(draft.folder, layout.description, layout.rows, layout.chunk_rows, tuple(missing))
            together(_embed_share, (share, source, corpus), processes, progress, draft.folder / "logs")
        elif missing:
            _embed_parts(draft, source, corpus, missing, progress.advance)

    def _finish(self, draft: EmbeddingDraft, given: Mapping[str, str]) -> str:
        layout, store = draft.layout, EmbeddingStore.open(draft.store)
        chips, views = _counted(len(layout.rows), "chip"), _counted(len(store.views), "view")
        line = f"{chips} in {views} ({', '.join(store.views)})."
        made = draft.store
        if self.to == GEOPARQUET:
            made = draft.folder / "table.parquet"
            line = EmbeddingTable(store, layout).write(made)
        elif given.get("dtype") == "int8":
            made = draft.fresh("int8.zarr")
            scaling: Scaling = "dimension" if given.get("scale") == "dimension" else "vector"
            line = f"{line} As {QuantizedStore(store, layout, scaling).write(made)}"
        put_in_place(made, self.target)
        return line


def is_table(to: str | None) -> bool:
    """Whether `to` is one of `TABLES`; raises `Fatal`, with the nearest known name, for what is no format at all."""
    known = (*TABLES, *formats())
    if to is not None and to not in known:
        raise unknown_name("format", to, known)
    return to in TABLES


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _chunk_rows(given: Mapping[str, str]) -> int | None:
    text = given.get(_CHUNK)
    if text is not None and not (text.isdecimal() and int(text)):
        raise Fatal(f"{_CHUNK}={text} is no number of rows; give one, such as 1024.")
    return None if text is None else int(text)


def _layout(source: Source, corpus: Corpus, choice: Choice, chunk_rows: int | None) -> StoreLayout:
    embedder, _ = source.embedder(corpus)
    size_px, model, left_out = corpus.manifest.size_px, source.model(corpus), frozenset(source.without)
    views = tuple(_view(name, channels, left_out, corpus.modalities) for name, channels in embedder.channels.items())
    description = Description(
        views, embedder.shape(size_px), embedder.image_px(size_px), model.address, model.digest,
        corpus.manifest.digest, tuple(sorted(left_out)), model.name,
    )  # fmt: skip
    return StoreLayout.of(description, corpus.manifest, choice.of(corpus).rows, chunk_rows)


def _view(name: str, channels: Sequence[str], left_out: frozenset[str], modalities: Mapping[str, Modality]) -> View:
    used = tuple(channel for channel in channels if not {channel, channel.partition(".")[0]} & left_out)
    layers = dict.fromkeys(channel.partition(".")[0] for channel in used)
    assets = [asset for layer in layers for asset in modalities[layer].assets or (layer,)]
    return View(name, used, tuple(dict.fromkeys(assets)))


@dataclass(frozen=True)
class Share:
    """What several processes divide among them: the `parts` that a draft in `folder` lacks."""

    folder: Path
    description: Description
    rows: NDArray[np.int64]
    chunk_rows: int
    parts: tuple[int, ...]


def _embed_share(share: Share, source: Source, corpus: Corpus, progress: Progress) -> bool:
    """Embed the parts of one of several processes; progress is that of all, and told by the first."""
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    draft = EmbeddingDraft(share.folder, StoreLayout(share.description, corpus.manifest, share.rows, share.chunk_rows))
    counted = len(share.rows) - sum(len(draft.rows(part)) for part in share.parts)

    def tell(_rows: int) -> None:
        nonlocal counted
        done = draft.done_rows
        progress.advance(done - counted)
        counted = done

    _embed_parts(draft, source, corpus, share.parts[rank::processes], tell)
    return True


def _embed_parts(
    draft: EmbeddingDraft, source: Source, corpus: Corpus, parts: Sequence[int], tell: Callable[[int], None]
) -> None:
    """Embed parts one after the other; meanwhile the last one is written, and chips of the next are read."""
    embedder, without = source.embedder(corpus)
    jobs = {part: _batches(draft.rows(part)) for part in parts}
    stream = embedder.embed_each(corpus, [rows for batches in jobs.values() for rows in batches], without)
    written: Future[None] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="embeddings") as pool:
        for part, batches in jobs.items():
            results = [next(stream) for _ in batches]
            vectors = _joined([item.vectors for item in results])
            shares = _joined([item.valid_share for item in results])
            if written is not None:
                written.result()
            written = pool.submit(draft.write, part, vectors, shares)
            tell(len(draft.rows(part)))
    if written is not None:
        written.result()


def _joined(parts: Sequence[Mapping[str, NDArray[np.float32]]]) -> dict[str, NDArray[np.float32]]:
    return {view: np.concatenate([part[view] for part in parts]) for view in parts[0]}


def _batches(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.split(rows, range(_BATCH_ROWS, len(rows), _BATCH_ROWS))
