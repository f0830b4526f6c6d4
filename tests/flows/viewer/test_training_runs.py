"""Training runs in the explorer: their figures are those of the log, and nothing outside of their folders is given."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from flows.viewer.event_file import Curve, EventFile
from flows.viewer.server import Beside, application
from flows.viewer.training_run import trend
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.exporters.report_corpus import make_corpus
from tests.extras import NO_TORCH
from tests.flows.viewer.run_folder import event, losses_at, make_run, record, write_log


@pytest.fixture
def trained(tmp_path: Path) -> Corpus:
    return make_corpus(tmp_path / "trained", count=8, size_px=16)


def client_of(corpus: Corpus, *runs: Path) -> TestClient:
    return TestClient(application(corpus, Beside(runs=runs)), base_url="http://127.0.0.1:1")


def read(path: Path) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    EventFile(path).read_on(curves)
    return curves


def test_the_losses_are_those_of_the_log(trained: Corpus) -> None:
    make_run(trained, "first")
    client = client_of(trained)
    assert [run["name"] for run in client.get("/data/runs.json").json()] == ["first"]
    told = client.get("/data/runs/first/run.json").json()
    assert (told["step"], told["steps"], told["state"], told["notes"]) == (100, 100, "at work", [])
    by_name = {loss["name"]: loss for loss in told["losses"]}
    assert list(by_name) == ["loss", "<b>cover</b>", "echo", "photo"] and by_name["loss"]["total"]
    wanted = [losses_at(step)["loss/photo"] for step in range(1, 101)]
    assert by_name["photo"]["steps"] == list(range(1, 101))
    np.testing.assert_allclose(by_name["photo"]["values"], wanted, rtol=1e-6)
    assert {name: loss["trend"] for name, loss in by_name.items()} == {
        "loss": "falls", "photo": "falls", "<b>cover</b>": "stays", "echo": "rises",
    }  # fmt: skip
    assert by_name["photo"]["first"] == pytest.approx(np.mean(wanted[:20]), rel=1e-6)
    assert [(look["name"], look["steps"], look["values"]) for look in told["validation"]] == [
        ("val/loss", [0, 50], [3.0, 2.5]), ("monitor/knn", [0, 50], [0.3, 0.55]),
    ]  # fmt: skip


def test_the_chips_of_its_pictures_are_rows_of_the_corpus(trained: Corpus) -> None:
    folder = make_run(trained, "first", ended=True)
    client = client_of(trained)
    told = client.get("/data/runs/first/run.json").json()
    ids = trained.manifest.column("id").tolist()
    assert told["drawn"] == [
        {"id": ids[3], "row": 3},
        {"id": ids[5], "row": 5},
        {"id": "of another corpus", "row": None},
    ]
    assert told["state"] == "ended" and [item["step"] for item in told["pictures"]] == [50, 100]
    name = told["pictures"][1]["file"]
    answer = client.get(f"/data/runs/first/{name}")
    assert answer.headers["content-type"] == "image/png"
    assert answer.content == (folder / "pictures" / name).read_bytes()


def test_a_run_at_work_is_read_on_and_one_that_went_back_has_each_step_once(trained: Corpus) -> None:
    folder = make_run(trained, "first", steps=10)
    client = client_of(trained)
    assert client.get("/data/runs/first/run.json").json()["step"] == 10
    log = next((folder / "tensorboard").iterdir())
    next_one = record(event(11, {"loss": 1.5}))
    with log.open("ab") as file:
        file.write(next_one[:-5])
    assert client.get("/data/runs/first/run.json").json()["step"] == 10, "that record is not whole yet"
    with log.open("ab") as file:
        file.write(next_one[-5:])
    assert client.get("/data/runs/first/run.json").json()["losses"][0]["steps"] == list(range(1, 12))
    write_log(folder, [(step, {"loss": 7.0}) for step in (9, 10)], number=1)
    total = client.get("/data/runs/first/run.json").json()["losses"][0]
    assert total["steps"] == list(range(1, 11)) and total["values"][-2:] == [7.0, 7.0]


def test_a_long_run_is_told_in_means(trained: Corpus) -> None:
    folder = make_run(trained, "long")
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    values[13] = np.nan
    write_log(folder, [(step + 1, {"loss": float(value)}) for step, value in enumerate(values)])
    total = client_of(trained).get("/data/runs/long/run.json").json()["losses"][0]
    known = [(step + 1, value) for step, value in enumerate(values.tolist()) if step != 13]
    assert len(total["steps"]) == 250 and total["steps"][0] == 4 and total["steps"][-1] == 1000
    assert total["values"][1] == pytest.approx(np.mean([value for _, value in known[4:8]]))


def test_a_silent_run_says_since_when(trained: Corpus) -> None:
    folder = make_run(trained, "killed", steps=10)
    long_ago = time.time() - 7200
    for path in [folder / "run.json", folder / "validation.json", *(folder / "tensorboard").iterdir()]:
        os.utime(path, (long_ago, long_ago))
    assert client_of(trained).get("/data/runs/killed/run.json").json()["state"] == "silent for 2 h 0 min"


def test_damage_is_one_sentence_and_what_was_before_it_is_shown(trained: Corpus) -> None:
    folder = make_run(trained, "first")
    log = next((folder / "tensorboard").iterdir())
    whole = log.read_bytes()
    log.write_bytes(whole[: len(whole) // 2] + b"\xff" * 40 + whole[len(whole) // 2 :])
    told = client_of(trained).get("/data/runs/first/run.json").json()
    assert 30 < told["step"] < 60 and "is damaged at byte" in told["notes"][0] and len(told["notes"]) == 1
    (folder / "run.json").write_text("{")
    answer = client_of(trained).get("/data/runs/first/run.json")
    assert answer.status_code == 404 and "run.json" in answer.json()["error"]
    shutil.rmtree(folder / "tensorboard")
    (folder / "validation.json").write_text('[{"step": "x", "val/loss": 1}]')
    (folder / "run.json").write_text("{}")
    told = client_of(trained).get("/data/runs/first/run.json").json()
    assert (told["losses"], told["validation"], told["step"]) == ([], [], 0)


@pytest.mark.parametrize(
    "path",
    [
        "runs/first/run.json5", "runs/first/..%2frun.json", "runs/..%2f..%2fmanifest.parquet/run.json",
        "runs/first/step-00000001.png", "runs/%2e%2e/run.json", "runs/nobody/run.json", "runs/first/step-00000007.png",
        "runs/outside/run.json",
    ],
)  # fmt: skip
def test_nothing_but_its_own_figures_and_pictures_is_given(trained: Corpus, path: str) -> None:
    folder = make_run(trained, "first")
    secret = trained.folder.parent / "secret.png"
    Image.new("RGB", (2, 2)).save(secret)
    (folder / "pictures" / "step-00000007.png").symlink_to(secret)
    outside = trained.folder.parent / "outside"
    shutil.copytree(folder, outside, symlinks=True)
    (trained.folder / "runs" / "outside").symlink_to(outside)
    answer = client_of(trained).get(f"/data/{path}")
    assert answer.status_code == 404 and answer.json()["error"].endswith(".")


def test_a_run_that_is_named_is_shown_and_one_on_another_corpus_is_refused(trained: Corpus, tmp_path: Path) -> None:
    make_run(trained, "first")
    named = tmp_path / "elsewhere" / "first"
    named.parent.mkdir()
    (trained.folder / "runs" / "first").rename(named)
    make_run(trained, "first", steps=5)
    client = client_of(trained, named)
    assert {run["name"] for run in client.get("/data/runs.json").json()} == {"first", "first (2)"}
    assert client.get("/data/runs/first/run.json").json()["step"] == 5
    assert client.get("/data/runs/first (2)/run.json").json()["step"] == 100
    about = json.loads((named / "run.json").read_text())
    (named / "run.json").write_text(json.dumps(about | {"manifest": "0" * 64}))
    with pytest.raises(Fatal, match="is a run on another corpus"):
        application(trained, Beside(runs=(named,)))
    joined = about | {"manifest": "0" * 64, "corpora": [{"folder": "x", "manifest": trained.manifest.digest}]}
    (named / "run.json").write_text(json.dumps(joined))
    assert application(trained, Beside(runs=(named,)))
    with pytest.raises(Fatal, match="is no training run"):
        application(trained, Beside(runs=(tmp_path,)))


def test_trends() -> None:
    ends = [(1.0, 0.89), (1.0, 0.91), (1.0, 1.2), (-1.0, -1.2), (-1.0, -0.8), (0.0, 0.0)]
    assert [trend(item) for item in ends] == ["falls", "stays", "rises", "falls", "rises", "stays"]
    assert trend(None) == ""


def test_scalars_are_those_that_tensorboard_reads(tmp_path: Path) -> None:
    """Written by PyTorch, with pictures and texts among them, and read by TensorBoard."""
    pytest.importorskip("torch", reason=NO_TORCH)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3)).astype(np.uint8)
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(300):
            writer.add_scalar("loss", 1 / (step + 1), step)
            if step % 100 == 7:
                writer.add_image("pictures", noise, step, dataformats="HWC")
                writer.add_text("skipped", "a sentence", step)
            writer.add_scalar("loss/höhe", -float(step) * 1e10, step * 70_000)
    (path,) = tmp_path.iterdir()
    curves = read(path)
    wanted = EventAccumulator(str(tmp_path)).Reload()
    assert set(curves) == set(wanted.Tags()["scalars"]) == {"loss", "loss/höhe"}
    for name, curve in curves.items():
        assert [(item.step, item.value) for item in wanted.Scalars(name)] == list(
            zip(curve.steps, curve.values, strict=True)
        )


@pytest.mark.slow
def test_a_real_run_is_told(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason=NO_TORCH)
    from dataclasses import replace

    from tests.training.corpora import CONFIG, make_corpus
    from training.pretrain.train import pretrain

    corpus = make_corpus(tmp_path / "corpus", 20)
    config = replace(CONFIG, steps=6, pictures_every=3, val_every=3)
    result = pretrain(corpus.folder, config, corpus.folder / "runs" / "real")
    told = client_of(corpus).get("/data/runs/real/run.json").json()
    assert (told["step"], told["steps"], told["state"]) == (6, 6, "ended")
    assert {loss["name"] for loss in told["losses"]} == {"loss", *result.last_losses}
    for loss in told["losses"][1:]:
        assert loss["last"] == pytest.approx(result.last_losses[loss["name"]], rel=1e-5)
        assert loss["first"] == pytest.approx(result.first_losses[loss["name"]], rel=1e-5)
    assert told["validation"][0]["values"] == pytest.approx([look.loss for look in result.validations])
    assert [item["row"] for item in told["drawn"]] == corpus.manifest.rows_of("val")[:3].tolist()
    assert [item["step"] for item in told["pictures"]] == [3, 6]
