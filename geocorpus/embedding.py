"""Embeddings from Python: `geocorpus embed` and `geocorpus fewshot` with their options as arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline import arguments
from pipeline.progress import Progress

if TYPE_CHECKING:
    from pandas import DataFrame


def embed(
    weights: str | Path,
    target: str | Path,
    corpus: str | Path | None = None,
    to: Literal["embeddings", "geoparquet"] = "embeddings",
    where: str = "",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write a vector of each chip to `target`, a Zarr store or a table of GeoParquet, and return its path.

    `weights` are a run's folder, a file, an address, or "layer:NAME" for a layer of the corpus; `corpus` is a folder,
    by default the one in which the weights lie. `where` is a condition on columns, such as "split == 'val'". A call
    that was stopped is gone on with. Raises `Fatal` for what cannot be embedded or written, and for a target that is
    there already, unless `overwrite`, and without PyTorch.
    """
    from exporters.formats.choice import Choice
    from flows.embedding import EmbeddingFile
    from flows.embedding_source import Source
    from geocorpus.shown import shown

    path = arguments.path("the target of embeddings", target)
    folder = None if corpus is None else arguments.path("the folder of a corpus", corpus)
    with shown(progress) as told:
        EmbeddingFile(path, to, overwrite=overwrite).write(Source(str(weights), folder), Choice(where=where), told)
    return path


def fewshot(
    corpus: str | Path,
    encoders: Mapping[str, str | Path],
    targets: Mapping[str, str],
    out: str | Path,
    shots: Sequence[int] | None = None,
    draws: int = 20,
    heads: Sequence[str] = ("nearest", "linear", "forest"),
    progress: Progress | None = None,
) -> DataFrame:
    """How well simple models do on frozen vectors with few labels: a row for each target, encoder, head and measure.

    `encoders` are weights (or, but for the first, stores of embeddings) and `targets` what is to be told, by the names
    that they get in the table: "LAYER:CLASS+CLASS", "LAYER:BAND", "LAYER", a column, or a raster file. `shots` are the
    numbers of labels, each drawn `draws` times; all labels always follow. Columns are those of `scores.csv`, which
    is written to the folder `out` with plots and a page. Raises `Fatal` for what cannot be compared, and
    without PyTorch.
    """
    import pandas

    from flows.fewshot.compare import few_shot
    from flows.fewshot.outputs import write
    from flows.fewshot.plan import Named, Plan
    from flows.fewshot.target import Target
    from geocorpus.shown import shown

    folder = arguments.path("the folder for tables", out)
    plan = Plan(
        arguments.path("the folder of a corpus", corpus),
        tuple(Named(name, str(weights)) for name, weights in encoders.items()),
        tuple(Target(name, source) for name, source in targets.items()),
        shots=None if shots is None else tuple(shots),
        draws=draws,
        families=tuple(heads),
    )
    with shown(progress) as told:
        write(few_shot(plan, folder, told), folder)
    return pandas.read_parquet(folder / "scores.parquet")
