"""How the array of a layer is cut and encoded: whether bytes of one store are those of another."""

from __future__ import annotations

from typing import Any

from pipeline.corpus import Corpus
from pipeline.metadata import read_metadata

_CHUNKS = ("chunk_grid", "codecs")
_VALUES = ("fill_value", "data_type")
_BEFORE_CHECKSUM = 2  # the codecs of a chip: the order of its bytes, the compression, and in newer stores a checksum


def shard_encoding(corpus: Corpus, name: str) -> dict[str, Any]:
    """What decides the bytes of a shard's object. Raises `Fatal` for metadata that are absent or damaged."""
    metadata = read_metadata(corpus.store, name)
    return {key: metadata[key] for key in (*_CHUNKS, *_VALUES)}


def chip_encoding(corpus: Corpus, name: str) -> dict[str, Any] | None:
    """What decides the bytes of a compressed chip; None where chips are not compressed singly. Raises likewise."""
    if corpus.chip_codec(name) is None:
        return None
    metadata = read_metadata(corpus.store, name)
    codecs = metadata["codecs"][0]["configuration"]["codecs"][:_BEFORE_CHECKSUM]
    return {key: metadata[key] for key in _VALUES} | {"codecs": codecs}
