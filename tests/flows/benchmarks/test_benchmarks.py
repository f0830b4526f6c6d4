"""`probe --data` and `finetune.data` on small files of every kind: tables, files of scores, refusals."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests.extras import NO_TORCH

pytest.importorskip("torch", reason=NO_TORCH)
pytest.importorskip("h5py")

from typer.testing import CliRunner

from exporters.formats.benchmarks.published_scores import PUBLISHED
from flows.benchmarks.linear_rows import BANDS, FROZEN
from flows.benchmarks.prepared import prepare
from flows.benchmarks.probing import probe
from flows.data_options import DataOptions, ProbeOptions
from flows.finetuning import finetune
from flows.settings import parse
from flows.terminal.cli import app
from pipeline.errors import Fatal
from pipeline.progress import Silent
from tests.exporters.formats.benchmarks.geobench_files import SENTINEL_2, write_task
from tests.training.conftest import one_thread  # noqa: F401 (a fixture that every test here uses)
from tests.training.published_sparse import make_checkpoint, make_state
from training.evaluate.finetuned import load_finetuned
from training.weights.published import inputs_of
from training.weights.weights import load_encoder

MOMENTS = inputs_of(12).layers[0]


class Said(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    state = make_state((1, 1, 1, 1), (4, 4, 4, 4), 12, 8, "modified")
    return str(make_checkpoint(tmp_path_factory.mktemp("weights") / "checkpoint-199.pth", state))


def scenes(labels: np.ndarray, bands: tuple[str, ...], side: int = 12) -> np.ndarray:
    """Reflectances as MMEarth has them in each band, brighter by what the label says."""
    random = np.random.default_rng(0)
    known = MOMENTS.groups["l1c"]
    level = dict(zip(MOMENTS.modality.band_names, zip(known.mean, known.std, strict=True), strict=True))
    mean, std = np.array([level.get(name, (20.0, 5.0)) for name in bands])[None, :, :, None, None].transpose(
        2, 0, 1, 3, 4
    )
    values = mean + 0.3 * std * random.normal(0, 1, (len(labels), len(bands), side, side))
    return (values.clip(1) * (1 + 0.2 * labels.reshape(len(labels), 1, 1, 1))).astype(np.int16)


TRUE = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "B10", "B11", "B12", "B8A")  # of m-eurosat


@pytest.fixture(scope="module")
def eurosat(tmp_path_factory: pytest.TempPathFactory) -> str:
    labels = np.arange(40) % 3
    folder = tmp_path_factory.mktemp("bench") / "m-eurosat"
    return f"geobench:{write_task(folder, 'single', scenes(labels, TRUE), labels)}"


def test_a_probe_and_its_files(weights: str, eurosat: str, tmp_path: Path) -> None:
    said = Said()
    found = probe(weights, eurosat, {"seed": "3"}, tmp_path, said)
    lines = found.splitlines()
    assert lines[0].startswith("m-eurosat: single-label, 8 test images, linear models fitted to 24 train images")
    assert "bands corrected, partition default" in lines[0]
    assert [line.strip().split("  ")[0] for line in lines[2:6]] == [
        "this encoder", "random weights", "band means and deviations", "without looking"]  # fmt: skip
    assert any("MP-MAE (MMEarth64) *" in line and "0.738" in line for line in lines)
    assert any("published, linear probe, and not run here" in line for line in lines)
    kept = json.loads((tmp_path / "results.json").read_text())
    assert (kept["bands"], kept["moments"], kept["partition"], kept["seed"]) == ("corrected", "own", "default", 3)
    assert len(kept["weights_sha256"]) == 64 and kept["train"] == 24 and kept["scores"]["this encoder"]["accuracy"]
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert {row["source"] for row in rows if row["features"] == "random weights"} == {"run here"}
    assert any(row["features"] == "MP-MAE (MMEarth64)" and row["value"] == "0.738" for row in rows)
    assert not any("check their order" in line for line in said.lines)


def test_the_mapping_is_of_the_published_protocol_or_of_truth_and_the_order_is_checked(
    weights: str, eurosat: str
) -> None:
    pretrained, said = load_encoder(weights), Said()
    truth = prepare(pretrained, eurosat, DataOptions(), Silent())
    wrong = prepare(pretrained, eurosat, DataOptions(bands="published"), said)
    assert wrong.facts["bands"] == "published" and any("check their order" in line for line in said.lines)
    names = pretrained.normalisation.band_names["sentinel2"]
    right, other = (item.samples["test"].of(np.arange(1)).stored["sentinel2"][0] for item in (truth, wrong))
    image = truth.images.read(truth.images.parts["test"][0])[0]
    np.testing.assert_array_equal(right, image[[TRUE.index(name) for name in names]])
    assert names[7:9] == ("B8A", "B8") and np.array_equal(other[7], image[8]) and np.array_equal(other[8], image[7])


def test_the_corpus_s_moments_need_a_level_and_know_the_unit(weights: str, eurosat: str) -> None:
    pretrained = load_encoder(weights)
    with pytest.raises(Fatal, match="moments of l1c, l2a; say which the images are with level="):
        prepare(pretrained, eurosat, DataOptions(moments="corpus"), Silent())
    found = prepare(pretrained, eurosat, DataOptions(moments="corpus", level="l1c"), Silent())
    part = found.samples["train"].of(np.arange(6))
    assert part.stored["sentinel2"].dtype == np.uint16 and part.groups == "l1c"
    normalised = found.pretrained.normalisation.image(part.stored, part.groups)
    assert abs(float(normalised.mean())) < 0.5
    own = prepare(pretrained, eurosat, DataOptions(), Silent())
    every = own.samples["train"].of(np.arange(24))
    image = own.pretrained.normalisation.image(every.stored, every.groups)
    assert abs(float(image.mean())) < 0.1 and abs(float(image.std()) - 1) < 0.2


def test_bands_that_the_images_lack(weights: str, tmp_path: Path) -> None:
    labels = np.arange(20) % 2
    bands = tuple(name for name in SENTINEL_2 if name[:2] in ("02", "03", "04"))
    folder = write_task(tmp_path / "m-rgb", "single", scenes(labels, ("B2", "B3", "B4")), labels, bands, ("a", "b"))
    with pytest.raises(Fatal, match="m-rgb has bands B2, B3, B4, and the encoder looks at B1, B5.*absent=mean"):
        prepare(load_encoder(weights), f"geobench:{folder}", DataOptions(), Silent())
    said = Said()
    found = prepare(load_encoder(weights), f"geobench:{folder}", DataOptions(absent="mean"), said)
    part = found.samples["test"].of(np.arange(2))
    image = found.pretrained.normalisation.image(part.stored, part.groups)
    assert not image[:, 0].any() and image[:, 1].any() and "taken as without data" in said.lines[0]


@pytest.mark.parametrize("kind", ["multi", "segmentation"])
def test_fine_tuning_on_other_kinds(weights: str, kind: str, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    multi = random.integers(0, 2, (20, 3))
    labels = multi if kind == "multi" else random.integers(0, 3, (20, 12, 12))
    images = scenes(multi[:, 0], TRUE[:8] + ("B8A", "B9", "B10", "B11", "B12"))
    folder = write_task(tmp_path / "m-bigearthnet", kind, images, labels)
    data = {"weights": weights, "data": f"geobench:{folder}", "epochs": 1, "device": "cpu", "fit": "resize"}
    said = Said()
    done = finetune(parse({"corpus": {"folder": str(tmp_path)}, "finetune": data}), said)
    measure = "micro f1" if kind == "multi" else "mean iou"
    assert f"{measure:>14}" in done and "random weights" in done and "fine-tuning on 12 images" in done
    assert any("12 x 12 px are resized to 16 x 16 px" in line for line in said.lines)
    tuned = load_finetuned(tmp_path / "finetuned" / "m-bigearthnet.safetensors")
    assert tuned.task.kind == ("multi-label" if kind == "multi" else "single-label") and tuned.fit == "resize"
    kept = json.loads((tmp_path / "finetuned" / "m-bigearthnet.json").read_text())
    assert kept["recipe"]["epochs"] == 1 and kept["protocol"] == "fine-tuning" and "random weights" in kept["gaps"]
    run = CliRunner().invoke(app, ["probe", weights, "--data", f"geobench:{folder}", "--set", "fit=resize", "--json"])
    probed = json.loads(run.stdout.splitlines()[-1])["scores"]
    for ours, name in ((BANDS, "band means and deviations"), (FROZEN, "this encoder")):
        assert kept["scores"][ours] == probed[name] and ours in done and ours in kept["gaps"]


def test_numbers_of_a_table_through_the_command(weights: str, tmp_path: Path) -> None:
    import pandas as pd
    import rasterio

    values = np.linspace(0, 1, 15)
    names = MOMENTS.modality.band_names
    for row, image in enumerate(scenes(values, names, 16)):
        with rasterio.open(tmp_path / f"{row}.tif", "w", driver="GTiff", count=12, height=16, width=16, dtype="int16",
                           crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)) as file:  # fmt: skip
            file.write(image)
            file.descriptions = names
    pd.DataFrame({"path": [f"{row}.tif" for row in range(15)], "mass": values}).to_csv(tmp_path / "t.csv", index=False)
    command = ["probe", weights, "--data", f"table:{tmp_path / 't.csv'}", "--label", "mass", "--set", "folds=3"]
    run = CliRunner().invoke(app, [*command, "--json"])
    assert run.exit_code == 0, run.output
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["kind"] == "regression" and found["folds"] == 3
    assert found["scores"]["band means and deviations"]["r2"]["value"] > 0.5
    finetuned = {"weights": weights, "data": f"table:{tmp_path / 't.csv'}", "label": "mass", "epochs": 1,
                 "device": "cpu", "beside": "none"}  # fmt: skip
    done = finetune(parse({"corpus": {"folder": str(tmp_path)}, "finetune": finetuned}), Silent())
    assert "3 test images" in done and "rmse" in done and "linear" not in done


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"data": "folder:x", "moments": "mine"}, "unknown data.moments 'mine'; did you mean|known are: corpus, own"),
        ({"label": "a", "moments": "own"}, "finetune.moments is about images of finetune.data, which is not set"),
        ({"data": "folder:x", "momets": "own"}, "did you mean 'finetune.moments'"),
        ({}, "finetune.label is not set"),
    ],
)
def test_settings_that_do_not_do(section: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(Fatal, match=message):
        finetune(parse({"corpus": {"folder": str(tmp_path)}, "finetune": {"weights": "w", **section}}), Silent())


def test_options_of_the_command() -> None:
    assert ProbeOptions.of_texts({"folds": "3", "unit": "0.0001", "ignore": "0"}).folds == 3
    with pytest.raises(Fatal, match="did you mean 'moments'"):
        ProbeOptions.of_texts({"moment": "own"})
    with pytest.raises(Fatal, match="folds=x is no number"):
        ProbeOptions.of_texts({"folds": "x"})
    run = CliRunner().invoke(app, ["probe", "w"])
    assert isinstance(run.exception, Fatal) and "nothing says what to probe" in str(run.exception)


def test_published_scores_are_fractions_with_a_source() -> None:
    assert all(0 < item.score < 1 and item.source for item in PUBLISHED) and len(PUBLISHED) > 20
