"""How the data set is cited: CITATION.cff 1.2."""

from __future__ import annotations

import yaml

from exporters.publication.dataset import Dataset

CITATION = "CITATION.cff"


def citation_text(dataset: Dataset) -> str:
    """The file."""
    about = dataset.about
    known = {
        "cff-version": "1.2.0", "type": "dataset", "message": "If you use this data set, please cite it.",
        "title": about.title, "abstract": dataset.description, "version": about.version,
        "date-released": about.published, "license": about.licence, "url": about.url, "doi": about.doi,
        "keywords": list(about.keywords), "authors": [creator.citation() for creator in about.creators],
    }  # fmt: skip
    filled = {key: value for key, value in known.items() if value}
    return yaml.safe_dump(filled, sort_keys=False, allow_unicode=True, width=120)
