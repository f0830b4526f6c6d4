"""A file for a layer of one's own is not written under a name that the layer cannot have."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporters.skeleton import write_skeleton
from pipeline.errors import Fatal


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("lambda", "Python has that word for itself"), ("class", "Python has that word"),
        ("a-b", "use small"), ("2nd", "use small"), ("", "use small"), ("Large", "use small"),
        ("time", "the store has that name"), ("band_x", "the store has that name"), ("split", "the store has"),
        ("sentinel2", "geocorpus brings a layer"), ("sentinel2_scl", "geocorpus brings a layer"),
    ],
)  # fmt: skip
def test_a_name_that_no_layer_can_have_is_one_sentence(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(Fatal, match=f"^a modality cannot be called '{name}': {why}"):
        write_skeleton(name, tmp_path)
    assert not list(tmp_path.iterdir())
