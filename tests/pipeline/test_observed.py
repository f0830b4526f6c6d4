"""What a layer tells of the observation stands beside its specification, and changes nothing of what the layer is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import repair, verification
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.observed import OBSERVED, Channel, CloudDetection, Observed, SkyClasses
from pipeline.progress import Silent
from tests.pipeline.chips import CLIMATE, COVER, MODALITIES, OPTICAL, make_manifest
from tests.pipeline.damage import finished_corpus

RADAR = Observed(
    (Channel("red", "ascending", "VV", -30.0), Channel("green", "anchor", "VH")), (("_1SDV_", ("VV", "VH")),)
)
SKY = Observed(classes=SkyClasses(cloud=(10, 20), unknown=(80,)))
DETECTED = Observed(detection=CloudDetection(("red", "cirrus"), "l1c"))


@pytest.mark.parametrize("observed", [RADAR, SKY, DETECTED, Observed(cloud_from=40.0), Observed()])
def test_what_attributes_hold_comes_back(observed: Observed) -> None:
    assert Observed.from_attributes(json.loads(json.dumps(observed.attributes()))) == observed


def test_a_name_says_what_a_scene_was_taken_in() -> None:
    assert RADAR.polarisations("A/S1A_IW_GRDH_1SDV_2017") == ("VV", "VH") and RADAR.polarisations("A/other") is None


def test_classes_are_believed_before_probabilities_and_these_before_a_detector() -> None:
    assert [item.cloud_rank for item in (SKY, Observed(cloud_from=1.0), DETECTED, RADAR)] == [0, 1, 2, None]


def test_it_is_no_part_of_what_a_layer_is(tmp_path: Path) -> None:
    told = replace(COVER, observed=SKY)
    assert told == COVER and told.digest == COVER.digest
    make_manifest(tmp_path, 5)
    Corpus.create(tmp_path, [told, OPTICAL], 4)
    layers = Corpus.open(tmp_path).modalities
    assert layers["cover"].observed == SKY and layers["optical"].observed is None


def test_a_corpus_of_an_older_release_takes_a_layer_that_has_it_now_and_is_mended_from_it(tmp_path: Path) -> None:
    finished_corpus(tmp_path, chips=5, shard_rows=4)
    path = tmp_path / "corpus.zarr" / "cover" / "zarr.json"
    before = path.read_bytes()
    Corpus.create(tmp_path, [replace(layer, observed=SKY) if layer is COVER else layer for layer in MODALITIES], 4)
    assert path.read_bytes() == before and not Corpus.open(tmp_path).missing()
    for lost in (path, tmp_path / "corpus.zarr" / "zarr.json"):
        lost.unlink()
    known = {"cover": replace(COVER, observed=SKY)}
    assert repair.repair(tmp_path, Silent(), lambda manifest: known).found.faults == []
    assert path.read_bytes() == before
    assert verification.verify(tmp_path, Silent()).faults == []


def test_damage_is_told_as_that_of_the_specification(tmp_path: Path) -> None:
    make_manifest(tmp_path, 5)
    Corpus.create(tmp_path, [replace(COVER, observed=SKY)], 4)
    path = tmp_path / "corpus.zarr" / "cover" / "zarr.json"
    data = json.loads(path.read_text())
    data["attributes"][OBSERVED] = "{}"
    path.write_text(json.dumps(data))
    with pytest.raises(Fatal, match="specification of a modality in the store is damaged"):
        Corpus.open(tmp_path).modality("cover")


@pytest.mark.parametrize(
    ("layer", "observed", "words"),
    [
        (OPTICAL, Observed((Channel("blue", "anchor", "VV"),)), "channels of bands that it lacks"),
        (OPTICAL, Observed((Channel("red", "sideways", "VV"),)), "none of anchor, ascending, descending"),
        (COVER, Observed(classes=SkyClasses((11,))), "classes that it lacks"),
        (OPTICAL, Observed(detection=CloudDetection(("blue",), "l1c")), "detects clouds in bands that it lacks"),
        (COVER, Observed(cloud_from=3.0), "probabilities that are classes"),
        (CLIMATE, Observed(cloud_from=3.0), "clouds without pixels"),
    ],
)
def test_nonsense_is_refused(layer, observed, words) -> None:
    with pytest.raises(Fatal, match=words):
        replace(layer, observed=observed)
