"""The commands that look at embeddings: `search` and `plot`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from exporters.formats.search.found_chips import FoundChips
    from flows.found_file import FoundFile
    from flows.searching import Answer
    from pipeline.corpus import Corpus

Store = Annotated[Path, typer.Argument(help="Embeddings: what `geocorpus embed --to embeddings` wrote.")]
View = Annotated[str | None, typer.Option(help="By which sensor; fused by default, where there are several.")]
CorpusFolder = Annotated[
    Path | None, typer.Option("--corpus", help="The corpus folder, for pictures; one beside the store by default.")
]
AsJson = Annotated[bool, typer.Option("--json", help="For machines: JSON on standard output.")]


def search(
    store: Store,
    chip: Annotated[str, typer.Option(help="Nearest to the chip with this id.")] = "",
    at: Annotated[str, typer.Option(help="Nearest to the chip at LON,LAT.")] = "",
    image: Annotated[Path | None, typer.Option(help="Nearest to the middle of this GeoTIFF.")] = None,
    like: Annotated[list[str] | None, typer.Option(help="Like the chip with this id; repeatable.")] = None,
    unlike: Annotated[list[str] | None, typer.Option(help="And unlike this one; repeatable.")] = None,
    k: Annotated[int, typer.Option("-k", "--count", min=1, help="How many chips.")] = 20,
    view: View = None,
    out: Annotated[
        Path | None, typer.Option(help="Write GeoParquet here, and pictures of the chips beside it (.png).")
    ] = None,
    corpus: CorpusFolder = None,
    weights: Annotated[str | None, typer.Option(help="With --image: the encoder that made the store.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find the chips that an encoder finds nearest to a chip, a place or an image, or most like some examples."""
    from flows.embedded_corpus import corpus_at_hand, weights_at_hand
    from flows.found_file import FoundFile
    from flows.image_query import vector_of_image
    from flows.searching import Question, Search

    question = Question(chip, at, image, tuple(like or ()), tuple(unlike or ()))
    asked = Search.open(store, view)
    around = corpus_at_hand(asked.store, corpus)
    file = None if out is None else FoundFile(out)
    if file is not None:
        file.refuse(asked.store, around)
    vector = None
    if question.image is not None:
        path = weights_at_hand(asked.store, weights, around)
        vector = vector_of_image(asked.store, asked.view, path, question.image)
    answer = asked.answer(question, k, vector)
    written = [] if file is None else _written(file, answer, around)
    if as_json:
        typer.echo(json.dumps({"found": _plain(answer.chips), "title": answer.title, "written": written}))
        return
    typer.echo("\n".join([f"{answer.title}:", answer.chips.table(), *(f"wrote {name}" for name in written)]))


def _written(file: FoundFile, answer: Answer, corpus: Corpus | None) -> list[str]:
    answer.chips.write(file.table)
    if corpus is None:
        typer.echo(
            "no pictures of the chips: their corpus is not beside the store; say where it is with --corpus.", err=True
        )
        return [str(file.table)]
    from flows.search_pictures import write_neighbours

    write_neighbours(file.sheet, answer, corpus)
    return [str(file.table), str(file.sheet)]


def _plain(chips: FoundChips) -> list[dict[str, Any]]:
    columns = zip(chips.ranks, chips.ids, chips.rows, chips.score, chips.lonlat, strict=True)
    return [
        {"rank": int(rank), "id": str(name), "row": int(row), chips.score_name: float(score),
         "lon": float(lonlat[0]), "lat": float(lonlat[1])}
        for rank, name, row, score, lonlat in columns
    ]  # fmt: skip


def plot(
    store: Store,
    folder: Annotated[Path, typer.Argument(help="Where to write the pictures.")],
    colour: Annotated[list[str] | None, typer.Option(help="A cloud coloured by this column; repeatable.")] = None,
    view: View = None,
    corpus: CorpusFolder = None,
    as_json: AsJson = False,
) -> None:
    """Draw embeddings: a map in their colours, and clouds of points (t-SNE, or UMAP where it is installed)."""
    from flows.embedded_corpus import corpus_at_hand
    from flows.search_pictures import Plots
    from flows.searching import Search

    asked = Search.open(store, view)
    paths = Plots(asked, corpus_at_hand(asked.store, corpus)).write(folder, tuple(colour or ()))
    typer.echo(json.dumps([str(path) for path in paths]) if as_json else "\n".join(f"wrote {path}" for path in paths))
