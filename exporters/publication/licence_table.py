"""The licence table, LICENCES.md: what each layer asks of whoever uses it or passes it on."""

from __future__ import annotations

from exporters.publication.dataset import Dataset
from pipeline.licence import OWN, Licence
from pipeline.modality import Modality

LICENCES = "LICENCES.md"


def licence_text(dataset: Dataset) -> str:
    """The page."""
    lines = [
        f"# Licences of {dataset.about.title}", "",
        f"What its publishers have made (the choice of places, the arrangement, columns of theirs) is under "
        f"{dataset.about.licence}. Each layer is under the licence of its source, which asks for the words beside it.",
        "",
        *licence_rows(dataset), "",
    ]  # fmt: skip
    return "\n".join(lines)


def licence_rows(dataset: Dataset) -> list[str]:
    """The table, a line for each layer."""
    rows = [_row(layer, dataset.licence_of(layer)) for layer in dataset.layers]
    return ["| layer | what | licence | attribution |", "|---|---|---|---|", *rows]


def _row(layer: Modality, licence: Licence) -> str:
    named = f"[{licence.name}]({licence.url})" if licence.url else licence.name
    words = "computed from places and dates" if licence == OWN else licence.attribution
    return f"| `{layer.name}` | {_cell(layer.title)} | {named} | {_cell(words)} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
