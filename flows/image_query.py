"""The vector of a GeoTIFF by the encoder of a store of embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from exporters.formats.embeddings.store import EmbeddingStore
from exporters.formats.search.image_file import ImageFile
from pipeline.errors import Fatal


def vector_of_image(store: EmbeddingStore, view: str, weights: str, path: Path) -> NDArray[Any]:
    """The vector (width,) of the middle of an image, in the view of the store.

    Raises `Fatal` for weights that did not make the store, and for an image in which they cannot see.
    """
    from training.evaluate.search.image_query import vectors_of
    from training.weights.encoders import weight_files

    files = weight_files(weights)
    store.check_model(files.digest)
    image, encoders = ImageFile.read(path), files.load()
    layers = {layer.name: layer for item in encoders for layer in item.normalisation.layers}
    stored = image.layers({name: layer.modality for name, layer in layers.items()})
    groups = {name: image.group(layers[name].modality, layers[name].groups) for name in stored}
    vectors = vectors_of(encoders, stored, groups)
    if view not in vectors:
        raise Fatal(f"{path} has nothing for the view {view}; it has {', '.join(vectors)}: say so with --view.")
    return vectors[view]
