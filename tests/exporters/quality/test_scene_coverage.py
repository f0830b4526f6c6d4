"""Passes and polarisations of radar scenes: what was lost, what was never taken, and what is noise beyond an edge."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from exporters.modalities.sentinel1 import sentinel1
from exporters.quality.inspection import inspect
from exporters.quality.quality import Quality
from exporters.report.facts import coverage
from exporters.report.report import render
from pipeline.chip import Scene
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.manifest import Manifest
from pipeline.modality import Band, Modality
from pipeline.observed import Channel, Observed
from tests.pipeline.chips import make_chip

CHIPS, SIZE_PX = 12, 16
WHEN = datetime(2017, 5, 1, tzinfo=UTC)
BANDS = sentinel1.band_names


def pinned(mode: str | None) -> Scene | None:
    name = f"S1A_IW_GRDH_1S{mode}_20170501T060000_20170501T060025_016381_01B1F1_0001"
    return Scene(f"COPERNICUS/S1_GRD/{name}", WHEN) if mode else None


def corpus_of(folder: Path, modes: list[tuple[str | None, str | None]]) -> Corpus:
    """Chips pinned to radar scenes of these modes (ascending, descending), in the order of the rows."""
    chips = [make_chip(number, SIZE_PX) for number in range(len(modes))]
    order = [chip.location.id for chip in Manifest.freeze(chips, 0)]
    scenes = dict(zip(order, modes, strict=True))
    of_modes = [
        replace(chip, acquisition=replace(chip.acquisition, ascending=pinned(up), descending=pinned(down)))
        for chip in chips
        for up, down in [scenes[chip.location.id]]
    ]
    Manifest.freeze(of_modes, 0).write(folder / MANIFEST)
    return Corpus.create(folder, [sentinel1], shard_rows=len(modes))


def block_of(corpus: Corpus) -> np.ndarray:
    """What arrives when nothing goes wrong: between -20 and -5 dB in the bands that a chip's scenes have."""
    values = np.random.default_rng(3).integers(-2000, -500, (len(corpus.manifest), 8, SIZE_PX, SIZE_PX)).astype("int16")
    modes = {"DV": ("VV", "VH"), "DH": ("HH", "HV"), "SV": ("VV",), "SH": ("HH",)}
    for chip in corpus.manifest:
        for role in ("ascending", "descending"):
            scene = getattr(chip.acquisition, role)
            names = next((names for mode, names in modes.items() if scene and f"_1S{mode}_" in scene.asset_id), ())
            for index, band in enumerate(BANDS):
                if band.endswith(role) and band[:2] not in names:
                    values[chip.row, index] = sentinel1.nodata
    return values


def quality_of(corpus: Corpus, block: np.ndarray) -> Quality:
    quality, shard = Quality(corpus.modality("sentinel1")), corpus.shards[0]
    empty = {row: "no scene" for row in shard.rows if (block[row] == sentinel1.nodata).all()}
    quality.add(inspect(corpus, shard, {"sentinel1": block}, {"sentinel1": empty})["sentinel1"])
    return quality


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Mostly both passes in VV and VH, one polar chip, one scene in VV alone, one chip without a descending scene."""
    return corpus_of(tmp_path, [*[("DV", "DV")] * (CHIPS - 3), ("DH", "DH"), ("SV", "DV"), ("DV", None)])


def test_what_a_scene_was_not_made_to_hold_is_no_fault(corpus: Corpus) -> None:
    quality = quality_of(corpus, block_of(corpus))
    assert quality.flags() == []
    up, down = quality.scenes["ascending"], quality.scenes["descending"]
    assert (up.chips, up.pinned, down.pinned) == (CHIPS, CHIPS, CHIPS - 1)
    counts = {name: (item.data, item.expected) for name, item in up.polarisations.items()}
    assert counts == {"VV": (11, 11), "VH": (10, 10), "HH": (1, 1), "HV": (1, 1)}
    assert list(up.polarisations) == ["VV", "VH", "HH", "HV"] and list(quality.scenes) == ["ascending", "descending"]


def test_a_lost_polarisation_is_told_with_its_row(corpus: Corpus) -> None:
    block = block_of(corpus)
    block[2, BANDS.index("VH_ascending")] = sentinel1.nodata
    block[9, BANDS.index("HV_descending")] = sentinel1.nodata
    quality = quality_of(corpus, block)
    assert quality.flags() == [
        "sentinel1 has lost VH of the ascending scene in a chip: row 2",
        "sentinel1 has lost HV of the descending scene in a chip: row 9",
    ]
    found = quality.scenes["ascending"].polarisations["VH"]
    assert (found.data, found.expected) == (9, 10)


def test_a_pass_that_is_lost_is_told_once_and_also_where_nothing_arrived(corpus: Corpus) -> None:
    block = block_of(corpus)
    block[3, 4:] = sentinel1.nodata
    block[5] = sentinel1.nodata
    assert quality_of(corpus, block).flags() == [
        "sentinel1 has nothing of the ascending scene that a chip should have: row 5",
        "sentinel1 has nothing of the descending scene that 2 chips should have: row 3, 5",
    ]


def test_a_scene_over_a_part_of_a_chip_is_told(corpus: Corpus) -> None:
    block = block_of(corpus)
    block[4, :4, :, 12:] = sentinel1.nodata
    assert quality_of(corpus, block).flags() == ["sentinel1 holds the ascending scene in a part of a chip alone: row 4"]


def test_noise_beyond_the_edge_of_a_scene_is_told_and_not_still_water(corpus: Corpus) -> None:
    block = block_of(corpus)
    block[1, BANDS.index("VV_descending"), :, 13:] = -4100
    block[6, BANDS.index("HH_ascending")] = sentinel1.nodata
    block[7, BANDS.index("VH_ascending")] = -3300  # still water
    block[8, BANDS.index("VV_ascending"), 0, :2] = -4000  # a radar shadow
    assert quality_of(corpus, block).flags() == [
        "sentinel1 has descending VV below -30 dB, as beyond the edge of a scene, in a chip: row 1"
    ]


def test_a_pass_that_most_chips_lack_is_told(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, [("DV", None), ("DV", None), ("DV", "DV")])
    assert quality_of(corpus, block_of(corpus)).flags() == ["sentinel1 has no descending scene for 2 of 3 chips"]


def test_scenes_of_other_names_and_imported_chips_without_scenes_lose_nothing(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, [(None, None), ("XX", "XX"), ("DV", "DV")])
    block = block_of(corpus)
    block[0, :2] = block[1, :2] = block[1, 4:6] = block[2, :2]
    quality = quality_of(corpus, block)
    assert quality.flags() == [] and quality.scenes["ascending"].pinned == 3


def test_findings_of_shards_add_up_and_those_of_older_releases_have_none(corpus: Corpus) -> None:
    block, shard = block_of(corpus), corpus.shards[0]
    block[2, 0] = sentinel1.nodata
    nothing: dict[str, dict[int, str]] = {"sentinel1": {}}
    findings = inspect(corpus, shard, {"sentinel1": block}, nothing)["sentinel1"]
    quality = Quality(sentinel1)
    for each in (findings, {name: item for name, item in findings.items() if name != "scenes"}, findings):
        quality.add(each)
    found = quality.scenes["ascending"].polarisations["VV"]
    assert (quality.chips, found.lost.chips, found.lost.rows) == (3 * CHIPS, 2, [2, 2])


def test_a_layer_that_tells_nothing_of_scenes_has_no_findings_of_them(tmp_path: Path) -> None:
    Manifest.freeze([make_chip(1, SIZE_PX)], 0).write(tmp_path / MANIFEST)
    layer = Modality("grey", "Grey", (Band("b"),), "uint8", 0)
    corpus = Corpus.create(tmp_path, [layer], 1)
    block = np.ones((1, 1, SIZE_PX, SIZE_PX), np.uint8)
    assert "scenes" not in inspect(corpus, corpus.shards[0], {"grey": block}, {"grey": {}})["grey"]


def test_a_negative_scale_turns_the_floor_round(tmp_path: Path) -> None:
    Manifest.freeze([make_chip(1, SIZE_PX)], 0).write(tmp_path / MANIFEST)
    observed = Observed((Channel("b", "anchor", "VV", -30.0),))
    layer = Modality("echo", "Echo", (Band("b", "dB"),), "uint8", 255, scale=-1.0, observed=observed)
    corpus = Corpus.create(tmp_path, [layer], 1)
    block = np.full((1, 1, SIZE_PX, SIZE_PX), 29, np.uint8)
    block[0, 0, 0] = 31
    quality = Quality(layer)
    quality.add(inspect(corpus, corpus.shards[0], {"echo": block}, {"echo": {}})["echo"])
    assert quality.scenes["anchor"].polarisations["VV"].noise.chips == 1


def test_the_report_tells_it_by_pass_and_polarisation(corpus: Corpus) -> None:
    block, shard = block_of(corpus), corpus.shards[0]
    block[2, BANDS.index("VH_ascending")] = sentinel1.nodata
    found = inspect(corpus, shard, {"sentinel1": block}, {"sentinel1": {}})["sentinel1"]
    corpus.write(shard, "sentinel1", block, {}, found)
    words = "12 of 12 chips have a scene; VV 11 of 11, VH 9 of 10, HH 1 of 1, HV 1 of 1"
    assert str(coverage(corpus)[0].quality.scenes["ascending"]) == words
    page = render(corpus, coverage(corpus), chips=0)
    assert "<li>VH: 9 of 10</li>" in page and ">descending</td>" in page
