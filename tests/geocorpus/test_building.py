"""The stages from Python: settings by section, what they give, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

import geocorpus
from flows.settings import load
from geocorpus.building import _overrides
from pipeline.progress import Tracker

SMALL = {"size_px": 32, "shard_rows": 4, "modalities": ["biome"]}


def test_sections_become_what_the_command_line_has() -> None:
    sections = {
        "corpus": {"folder": Path("a b"), "modalities": ("lat", "lon"), "size_px": 32, "store": 'with "quotes"'},
        "sampling": {"weights": {"forest": 0.5}},
    }
    assert [text.strip().replace("\n", "").replace("    ", "") for text in _overrides(sections)] == [
        'corpus.folder="a b"', 'corpus.modalities=["lat","lon",]', "corpus.size_px=32",
        'corpus.store="with \\"quotes\\""', "sampling.weights.forest=0.5",
    ]  # fmt: skip


def test_tables_in_a_list_become_settings() -> None:
    areas = [{"extent": (0.0, 1.0, 2.0, 3.0), "angle_rad": 0.25}, {"extent": [4.0, 5.0, 6.0, 7.0], "angle_rad": 0.5}]
    found = load("demo", _overrides({"split": {"by": "bands", "areas": areas}})).split.areas
    assert [(area.extent, area.angle_rad) for area in found] == [((0, 1, 2, 3), 0.25), ((4, 5, 6, 7), 0.5)]


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"sampling": {"location": 4}}, "did you mean 'sampling.locations'"),
        ({"samplin": {"locations": 4}}, "did you mean 'sampling'"),
        ({"locations": 4}, "is no section of settings"),
        ({"sampling": {"locations": None}}, "it is no value of TOML"),
        ({"sampling": {"locations": "many"}}, "sampling.locations = 'many' is not allowed"),
    ],
)
def test_what_is_no_setting_is_refused_before_anything_is_written(
    sections: dict, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(geocorpus.errors.Fatal, match=said.replace(".", r"\.")):
        geocorpus.build("demo", **sections)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_stages_one_by_one_give_what_a_next_step_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, told = tmp_path / "c", Tracker()
    candidates = geocorpus.sample("demo", corpus={**SMALL, "folder": folder}, sampling={"locations": 4})
    assert len(candidates) >= 4 and set(candidates.geom_type) == {"Point"} and "biome_name" in candidates
    manifest = geocorpus.anchor(folder)
    assert len(manifest) == 4 and set(manifest.frame.id) <= set(candidates.id)
    corpus = geocorpus.export(folder, told)
    assert corpus.missing() == {} and told.snapshot().stage == "export" and told.snapshot().done == 4
    assert not (folder / "report.html").exists() and not (folder / "progress.json").exists()
    assert geocorpus.finalize(folder).manifest.digest == manifest.digest and (folder / "report.html").exists()
    before = (folder / "manifest.parquet").read_bytes()
    assert repr(geocorpus.build(folder)) == f"Corpus {folder}: 4 chips of 32 px, with biome"
    assert (folder / "manifest.parquet").read_bytes() == before
    assert capsys.readouterr() == ("", ""), "nobody looks: neither a notebook nor a terminal"
