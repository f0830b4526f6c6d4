"""Pilot, more, all: a corpus is asked for more places, another year or strategy, and pulls what it lacks."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from exporters.earth_engine.client import EarthEngine
from flows import growth, stages
from flows.settings import Settings, load
from flows.terminal.status import read_status
from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.errors import Fatal
from pipeline.manifest import Manifest
from pipeline.progress import Silent
from sampling.footprints import any_overlap
from tests.flows.jobs import STAGES, counters, differences, geocorpus, reset, run_stages, sandbox, snapshot

LAYERS = "corpus.modalities=['sentinel2', 'esa_worldcover', 'era5', 'biome', 'eco_region']"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with sandbox() as address:
        yield address


def given(url: str, folder: Path, *more: str) -> Settings:
    return load("demo", [f"corpus.folder={folder}", f"source.url={url}", "corpus.size_px=32", "corpus.shard_rows=8",
                         "sampling.locations=20", "anchor.batch=10", "sampling.overdraw=2", LAYERS, *more])  # fmt: skip


def run(settings: Settings, *names: str) -> None:
    """The stages as commands call them, but in this process."""
    with stages.earth_engine(settings) as engine:
        run_with(engine, settings, *names)


def run_with(engine: EarthEngine, settings: Settings, *names: str) -> None:
    for name in names or STAGES:
        stages.check(settings, name)
        arguments = () if name == "finalize" else (engine,)
        getattr(stages, name)(settings, *arguments, Silent())


@pytest.fixture(scope="module")
def pilot(url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty places, finished; read-only."""
    folder = tmp_path_factory.mktemp("pilot") / "corpus"
    run(given(url, folder))
    return folder


def copy_of(pilot: Path, folder: Path) -> Path:
    shutil.copytree(pilot, folder)
    return folder


def pixel_requests(url: str) -> int:
    return counters(url)["requests"].get("image:computePixels", 0)


def test_more_places_are_added_behind_and_only_they_are_pulled(url: str, pilot: Path, tmp_path: Path) -> None:
    folder, old = copy_of(pilot, tmp_path / "c"), Manifest.read(pilot / MANIFEST)
    before = snapshot(folder)
    more = given(url, folder, "sampling.locations=50")
    reset(url)
    run(more, "sample")
    assert not (folder / "seal.json").exists() or Corpus.open(folder)
    run(more, "anchor")
    assert len(Corpus.open(folder).manifest) == 20, "until it is laid out"
    run(more, "export", "finalize")
    manifest = Manifest.read(folder / MANIFEST)
    assert (
        len(manifest) == 50 and list(manifest)[:20] == list(old) and manifest.lineage == {old.digest, manifest.digest}
    )
    assert pixel_requests(url) == 30
    after = snapshot(folder)
    kept = [
        name
        for name in before
        if name.startswith(("ledger/", "corpus.zarr/")) and name.endswith(("0000.json", "0001.json"))
    ]
    kept += [name for name in before if name.startswith(("corpus.zarr/sentinel2/c/0", "corpus.zarr/sentinel2/c/1"))]
    kept += ["locations.parquet", "allocation.json", "sample.json", "rejected.parquet"]
    assert len(kept) > 8 and all(before[name] == after[name] for name in kept)
    lonlat = np.column_stack([manifest.column("lon"), manifest.column("lat")])
    assert any_overlap(lonlat, 320.0) == 0 and len(set(map(tuple, lonlat.tolist()))) == 50
    assert json.loads((folder / "extensions/001/allocation.json").read_text())["total"] == 30
    reset(url)
    run(more)
    assert snapshot(folder) == after and not counters(url)["requests"].get("image:computePixels")
    assert read_status(folder).next_step == "pretrain" and read_status(folder).chips == 50


def test_status_and_the_stages_say_what_is_next(url: str, pilot: Path, tmp_path: Path) -> None:
    folder = copy_of(pilot, tmp_path / "c")
    more = given(url, folder, "sampling.locations=26")
    for name, following in (
        ("sample", "anchor"),
        ("anchor", "export"),
        ("export", "finalize"),
        ("finalize", "pretrain"),
    ):
        run(more, name)
        assert read_status(folder).next_step == following
        if name == "anchor":
            with pytest.raises(Fatal, match="2 of 4 shards are not finished; run `geocorpus export`"):
                stages.finalize(more, Silent())
            with stages.earth_engine(more) as engine:
                assert "chips to pull    10\n" in stages.dry_run(more, engine)


@pytest.mark.parametrize(
    ("change", "stage", "words"),
    [
        ("sampling.locations=10", "sample", "was begun with sampling.locations = 20, not 10; a corpus does not shrink"),
        ("sampling.locations=30", "export", "sampling.locations = 20, not 30; `geocorpus sample` with it makes"),
        ("anchor.max_cloud_percent=30", "anchor", "anchor.max_cloud_percent .* `geocorpus sample` with it"),
        ("corpus.size_px=64", "sample", "corpus.size_px = 32, not 64; put it back, .* to grow, a corpus may change"),
        ("corpus.seed=5", "build", "corpus.seed = 0, not 5"),
        ("split.buffer_m=1", "sample", "split.buffer_m"),
        ("sampling.exclude_buffer_m=1", "sample", "sampling.exclude_buffer_m"),
    ],
)
def test_what_is_no_growth_is_refused(url: str, pilot: Path, change: str, stage: str, words: str) -> None:
    with pytest.raises(Fatal, match=words):
        stages.check(given(url, pilot, change), stage)


def test_nothing_to_add_is_refused_before_anything_is_written(url: str, pilot: Path, tmp_path: Path) -> None:
    folder = copy_of(pilot, tmp_path / "c")
    before = snapshot(folder)
    with pytest.raises(Fatal, match="has 20 chips, as many as are asked for"):
        run(given(url, folder, "sampling.overdraw=3"), "sample")
    assert snapshot(folder) == before


def test_it_grows_only_once_its_first_places_are_frozen(url: str, tmp_path: Path) -> None:
    run(given(url, tmp_path / "c"), "sample")
    with pytest.raises(Fatal, match="not anchored yet; put it back and run `geocorpus anchor`"):
        stages.check(given(url, tmp_path / "c", "sampling.locations=30"), "sample")
    run(given(url, tmp_path / "c"), "anchor")
    stages.check(given(url, tmp_path / "c", "sampling.locations=30"), "sample")


def test_twice_with_another_strategy_and_another_year_and_layer(url: str, pilot: Path, tmp_path: Path) -> None:
    folder = copy_of(pilot, tmp_path / "c")
    old = list(Manifest.read(pilot / MANIFEST))
    first = given(url, folder, "sampling.locations=30", "sampling.strategy=land", "anchor.years=[2017, 2018, 2019]")
    run(first)
    once = list(Manifest.read(folder / MANIFEST))
    second = LAYERS.replace("'biome'", "'biome', 'aster'")
    run(
        given(url, folder, "sampling.locations=37", "sampling.strategy=land", "anchor.years=[2017, 2018, 2019]", second)
    )
    manifest = Manifest.read(folder / MANIFEST)
    assert [state.rows for state in manifest.ancestors] == [20, 30] and len(manifest) == 37
    assert list(manifest)[:20] == old and list(manifest)[:30] == once
    corpus = Corpus.open(folder)
    assert "aster" in corpus.modalities and not corpus.missing()
    assert (folder / "extensions/002/locations.parquet").exists()
    assert corpus.statistics("sentinel2") and Corpus.open(folder, manifest.ancestors[0].digest).statistics("sentinel2")


def test_rejected_places_are_asked_again_only_under_other_rules(url: str, pilot: Path, tmp_path: Path) -> None:
    folder = copy_of(pilot, tmp_path / "c")
    rejected = pd.read_parquet(folder / "rejected.parquet")
    extra = (
        rejected if len(rejected) else pd.read_parquet(folder / "locations.parquet").assign(reason="made up").head(2)
    )
    durable.publish(folder / "rejected.parquet", lambda temporary: extra.to_parquet(temporary, index=False))
    places = extra[["lon", "lat"]].to_numpy()
    same, other = (
        given(url, folder, "sampling.locations=30"),
        given(url, folder, "sampling.locations=30", "anchor.years=[2018]"),
    )
    step = growth.next_step(same)
    assert step.number == 1
    assert growth.settled(step, same).knows(places).all()
    chips = growth.settled(step, other)
    assert len(chips) == 20 and not len(chips.useless)


@pytest.mark.parametrize("setting", ["sampling.points='{}'", "sampling.exclude=['{}']"])
def test_an_owners_file_that_cannot_be_used_leaves_nothing(url: str, tmp_path: Path, setting: str) -> None:
    table = tmp_path / "wrong.csv"
    table.write_text("id,lat,lon\na,120.5,10\n")
    with pytest.raises(Fatal, match="wrong.csv"):
        run(given(url, tmp_path / "c", setting.format(table)), "sample")
    assert not (tmp_path / "c").exists()


def test_more_points_of_an_owners_table(url: str, pilot: Path, tmp_path: Path) -> None:
    points, folder = tmp_path / "plots.csv", tmp_path / "c"
    rows = pd.read_parquet(pilot / MANIFEST, columns=["lon", "lat"]).assign(crop=[f"crop {row}" for row in range(20)])

    def write(count: int) -> None:
        rows.head(count).to_csv(points, index=False)

    write(5)
    settings = given(url, folder, f"sampling.points={points}", "split.buffer_m=0")
    run(settings)
    old = Manifest.read(folder / MANIFEST)
    assert len(old) == 5 and growth.next_step(settings).number == 0
    write(9)
    assert growth.next_step(settings).number == 1
    reset(url)
    run(settings)
    manifest = Manifest.read(folder / MANIFEST)
    assert list(manifest)[: len(old)] == list(old) and len(manifest) == 9
    assert pixel_requests(url) == 4
    assert [chip.own["crop"] for chip in manifest][: len(old)] == [chip.own["crop"] for chip in old]
    assert growth.next_step(settings).number == 1, "until the table has more"
    stages.check(given(url, folder, "split.buffer_m=0", "sampling.locations=10"), "sample")  # one more, drawn


@pytest.mark.parametrize("lost", ["extensions", "extensions/001/config.toml", "extensions/001/locations.parquet"])
def test_a_further_step_is_a_new_one_though_files_of_the_last_are_lost(
    url: str, pilot: Path, tmp_path: Path, lost: str
) -> None:
    """Otherwise its candidates would be those of a step that is frozen, and never get into the corpus."""
    folder = copy_of(pilot, tmp_path / "c")
    run(given(url, folder, "sampling.locations=24"), "sample", "anchor")
    path = folder / lost
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    same = given(url, folder, "sampling.locations=24")
    assert growth.next_step(same).number == 1 and not growth.changes(same)
    more = given(url, folder, "sampling.locations=27")
    run(more, "sample", "anchor")
    assert len(Manifest.read(folder / MANIFEST)) == 27 and growth.last_step(folder).number == 2


def test_a_column_that_does_not_fit_is_refused_before_the_step_is_begun(url: str, pilot: Path, tmp_path: Path) -> None:
    """So that a corrected table is all that it takes to go on."""
    points, folder = tmp_path / "plots.csv", tmp_path / "c"
    rows = pd.read_parquet(pilot / MANIFEST, columns=["lon", "lat"])
    settings = given(url, folder, f"sampling.points={points}", "split.buffer_m=0")
    rows.head(3).assign(farm=[7, 8, 9]).to_csv(points, index=False)
    run(settings, "sample", "anchor")
    before = snapshot(folder)
    rows.head(5).assign(farm=[7, 8, 9, "nine", 10]).to_csv(points, index=False)
    with pytest.raises(Fatal, match="'farm' of the new places is of type string, and int64 in the corpus"):
        run(settings, "sample")
    assert snapshot(folder) == before
    rows.head(5).assign(farm=[7, 8, 9, 9, 10]).to_csv(points, index=False)
    run(settings, "sample", "anchor")
    assert sorted(Manifest.read(folder / MANIFEST).column("farm").tolist()) == [7, 8, 9, 9, 10]


def test_an_unfinished_export_may_grow_and_keeps_its_spool(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    run(given(url, folder), "sample", "anchor")
    settings = given(url, folder)
    corpus, _ = stages.lay_out(settings)
    old = corpus.manifest.digest[:16]
    (folder / "spool" / old / "00002").mkdir(parents=True)
    (folder / "spool" / old / "00002" / "mark").write_text("a chip that was paid for")
    more = given(url, folder, "sampling.locations=30")
    run(more, "sample", "anchor")
    corpus, _ = stages.lay_out(more)
    assert (folder / "spool" / corpus.manifest.digest[:16] / "00002" / "mark").exists()
    assert not (folder / "spool" / old).exists()
    run(more, "export", "finalize")
    assert len(Corpus.open(folder).manifest) == 30


class Killed(BaseException):
    """The process is gone."""


# Files that each run publishes before it is killed: every stage is cut off several times, at one place or another.
BUDGETS = (0, 1, 2, 0, 1, 3, 1, 2, 4, 1, 3, 7, 12, 17, 22, 27, 1, 3, 2, 1, 5, 1000)


def test_killed_at_any_write_of_a_file_it_ends_in_the_same_bytes(
    url: str, pilot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every publication of the growth, one after the other, is the last that the process makes."""
    whole, killed = (copy_of(pilot, tmp_path / name / "c") for name in ("whole", "killed"))
    run(given(url, whole, "sampling.locations=29"))
    more = given(url, killed, "sampling.locations=29")
    original, kills = durable.publish, 0

    def dying_after(count: int) -> Any:
        left = iter(range(count))

        def publish(path: Path, write: Any) -> None:
            if next(left, None) is None:
                raise Killed(str(path))
            original(path, write)

        return publish

    with stages.earth_engine(more) as engine:
        for budget in BUDGETS:
            with monkeypatch.context() as patched:
                patched.setattr(durable, "publish", dying_after(budget))
                with contextlib.suppress(Killed):
                    run_with(engine, more)
                    break
            kills += 1
    assert kills > 12
    assert differences(snapshot(killed), snapshot(whole)) == []


@pytest.mark.slow
def test_the_commands_grow_a_corpus_and_build_does_it_in_one_go(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    ours = [f"source.url={url}", "corpus.size_px=32", "corpus.shard_rows=8", "anchor.batch=10", LAYERS]
    for name in ("stages", "build"):
        run_stages([f"corpus.folder={tmp_path / name / 'c'}", "sampling.locations=12", *ours])
    first = geocorpus("sample", str(tmp_path / "stages" / "c"), "sampling.locations=21")
    assert first.returncode == 0 and "extensions/001" in first.stdout, first.stderr
    for stage in ("anchor", "export", "finalize"):
        outcome = geocorpus(stage, str(tmp_path / "stages" / "c"))
        assert outcome.returncode == 0, outcome.stderr
    outcome = geocorpus("build", str(tmp_path / "build" / "c"), "sampling.locations=21")
    assert outcome.returncode == 0, outcome.stderr
    assert differences(snapshot(tmp_path / "stages" / "c"), snapshot(tmp_path / "build" / "c")) == []
    assert len(Manifest.read(tmp_path / "build" / "c" / MANIFEST)) == 21
    refused = geocorpus("sample", str(tmp_path / "build" / "c"), "sampling.locations=5")
    assert refused.returncode == 2 and "does not shrink" in refused.stderr
