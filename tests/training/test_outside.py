"""Values outside of a layer's valid range: named as the cause of a bad step, and hidden as nodata where asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.modality import Band, Modality
from tests.training.bad_chips import with_bad_chip
from tests.training.corpora import ALL, CONFIG, ECHO, chips_of
from tests.training.pretrain.test_train import Recorder
from training.batch import Raw
from training.data.outside import furthest, hiding_outside, warnings_of
from training.data.prepare import Preparation
from training.layer import Layer, layer_of
from training.model.normalisation import Normalisation
from training.pretrain.outlier import worst_outlier
from training.pretrain.resolved_run import resolve_run
from training.pretrain.train import pretrain
from training.standardiser import Moments
from training.weights.weights import load_encoder

ROW = 7
RANGED = replace(ECHO, valid_range=(-60.0, 20.0))
LAYERS = tuple(RANGED if item is ECHO else item for item in ALL)
HUGE = 3e38


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """One chip is far outside of the range, which the statistics do not know."""
    return with_bad_chip(tmp_path_factory.mktemp("bad") / "corpus", ROW, HUGE, RANGED, LAYERS)


def counted(corpus: Corpus, rows: tuple[int, ...]) -> Corpus:
    """The corpus with values outside in some rows, of which the statistics know."""
    for shard in corpus.shards:
        block = chips_of(RANGED, corpus.manifest, shard.rows)
        for row in set(rows) & set(shard.rows):
            block[row - shard.start, 0] = HUGE
        corpus.write(shard, "echo", block, {})
    return Corpus.open(corpus.folder)


def test_the_value_is_named_as_the_cause(bad: Corpus, tmp_path: Path) -> None:
    recorder = Recorder()
    result = pretrain(bad.folder, replace(CONFIG, log_every=50), tmp_path / "run", recorder)
    assert {item.rows for item in result.skipped} == {(ROW,)}
    said = f"as modality 'echo' holds 3e+38 in row {ROW}, far outside of its valid range -60 to 20; the chips are kept"
    assert said in recorder.said[0]
    with pytest.raises(Fatal, match=rf"3e\+38 in row {ROW}, .*; set pretrain.hide_outside = true, or leave the row"):
        pretrain(bad.folder, replace(CONFIG, bad_steps=1), tmp_path / "other")


def test_it_is_not_blamed_for_what_it_did_not_do(bad: Corpus, tmp_path: Path) -> None:
    config = replace(CONFIG, blr=1e30, warmup=0.0, bad_steps=1, leave_out=(ROW,))
    with pytest.raises(Fatal, match="the (loss|gradients) of"):
        pretrain(bad.folder, config, tmp_path)


def test_values_that_are_no_numbers_are_named_with_their_row(tmp_path: Path) -> None:
    corpus = with_bad_chip(tmp_path / "corpus", ROW)
    result = pretrain(corpus.folder, CONFIG, tmp_path / "run")
    assert result.skipped[0].cause == f"modality 'echo' holds values that are no numbers (inf in row {ROW})"


def test_hidden_the_run_is_as_any_other(bad: Corpus, tmp_path: Path) -> None:
    recorder = Recorder()
    result = pretrain(bad.folder, replace(CONFIG, hide_outside=True), tmp_path, recorder)
    assert not result.skipped and not recorder.said and np.isfinite(recorder.losses).all()
    with pytest.raises(Fatal, match=r"was begun with pretrain\.hide_outside = True, not False"):
        pretrain(bad.folder, CONFIG, tmp_path)


def test_moments_leave_out_the_shards_that_have_such_values(bad: Corpus, tmp_path: Path) -> None:
    corpus = counted(with_bad_chip(tmp_path / "corpus", ROW, HUGE, RANGED, LAYERS), (ROW,))
    assert furthest(corpus, layer_of(corpus, "echo", {})) == (pytest.approx(HUGE), 0)
    recorder = Recorder()
    pretrain(corpus.folder, replace(CONFIG, steps=1), tmp_path / "run", recorder)
    assert recorder.said == [
        "Layer 'echo' holds 3e+38, far outside of its valid range -60 to 20, and its mean and deviation follow from "
        "that; pretrain.hide_outside = true treats such values as nodata."
    ]
    hidden = hiding_outside(corpus, layer_of(corpus, "echo", {}))
    train = [row for row in corpus.manifest.rows_of("train") if row // 8 != ROW // 8]
    up = np.concatenate([chips_of(RANGED, corpus.manifest, range(row, row + 1))[0, 0].ravel() for row in train])
    np.testing.assert_allclose(hidden.groups["all"].mean[0], up.mean(dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(hidden.groups["all"].std[0], up.std(dtype=np.float64), rtol=1e-6)
    sane = layer_of(bad, "echo", {}).groups["all"]
    assert hidden.groups["all"].mean[1] == sane.mean[1], "the other band has no such value"


def test_where_every_shard_has_some_the_histogram_serves(bad: Corpus, tmp_path: Path) -> None:
    rows = bad.manifest.rows_of("train")
    firsts = rows[np.unique(rows // 8, return_index=True)[1]]
    corpus = counted(with_bad_chip(tmp_path / "corpus", ROW, HUGE, RANGED, LAYERS), tuple(firsts.tolist()))
    moments = hiding_outside(corpus, layer_of(corpus, "echo", {})).groups["all"]
    sane = layer_of(bad, "echo", {}).groups["all"]
    assert abs(moments.mean[0] - sane.mean[0]) < 80 and moments.std[0] < 80


@pytest.mark.parametrize("own", [None, (20, 300)])
@pytest.mark.parametrize(("dtype", "nodata"), [("float32", np.nan), ("int16", -9999), ("uint16", 0), ("float64", 5)])
def test_on_the_device_as_on_the_host(dtype: str, nodata: float, own: tuple[float, float] | None) -> None:
    bands = (Band("a"), Band("b", valid_range=own))
    modality = Modality("layer", "Layer", bands, dtype, nodata, valid_range=(10, 900))
    random = np.random.default_rng(3)
    stored = random.integers(0, 1200, (3, 2, 8, 8)).astype(dtype)
    stored[:, :, 0] = modality.fill
    stored[0, 0, 1, :2] = (10, 900)
    moments = Moments(np.array([400, 500], np.float32), np.array([100, 90], np.float32), np.ones(2, bool))
    plain = Layer(modality, (0, 1), {"all": moments})
    for each in (plain, replace(plain, hide_outside=True)):
        values, valid = each.values(stored, ["all"] * 3)
        raw = Raw({"layer": torch.from_numpy(stored)}, {}, torch.ones(3, 1, 1, dtype=torch.bool), (0, 1, 2))
        batch = Preparation([each], torch.device("cpu"))(raw)
        assert np.array_equal(batch.values["layer"].numpy(), values) and np.array_equal(batch.valid["layer"], valid)
    inside = (stored >= 10) & (stored <= 900) & modality.valid(stored)
    if own is not None:
        inside[:, 1] &= (stored[:, 1] >= 20) & (stored[:, 1] <= 300)
    assert np.array_equal(valid, inside) and (values[~inside] == 0).all()


def test_the_weights_hide_the_same_values(tmp_path: Path) -> None:
    light = replace(ALL[0], valid_range=(1.0, 3000.0))
    corpus = with_bad_chip(tmp_path / "c", ROW, 60_000, light, (light, *ALL[1:]))
    pretrain(corpus.folder, replace(CONFIG, steps=1, hide_outside=True), tmp_path / "run")
    kept = load_encoder(tmp_path / "run").normalisation
    stored = corpus.read("light", slice(0, ROW + 1))[:, [0, 2]]
    image = kept.image({"light": stored}, list(map(str, corpus.manifest.column("level")[: ROW + 1])))
    assert (image[ROW, 0] == 0).all() and (image[ROW, 1] != 0).any() and (image[0, 0] != 0).any()
    assert Normalisation.from_dict(kept.to_dict()).layers[0].hide_outside
    assert "hide_outside" not in str(resolve_run(corpus, CONFIG).identity["inputs"])


def test_each_band_by_its_own_range(tmp_path: Path) -> None:
    up, down = ECHO.bands
    own = replace(RANGED, bands=(up, replace(down, valid_range=(-60.0, -59.0))))
    corpus = with_bad_chip(tmp_path / "corpus", ROW, 5.0, own, tuple(own if item is ECHO else item for item in ALL))
    layer = layer_of(corpus, "echo", {})
    value, band = furthest(corpus, layer) or (0.0, -1)
    assert band == 1 and value > -49, "the first band is in its range, the second ten widths above its own"
    (said,) = [text for text in warnings_of(corpus, [layer]) if "'echo'" in text]
    assert f"Layer 'echo' holds {value:g}, far outside of the valid range of {down.name} -60 to -59, and its" in said
    hidden = hiding_outside(corpus, layer)
    assert hidden.groups["all"].mean[0] == layer.groups["all"].mean[0]
    assert -60 <= hidden.groups["all"].mean[1] <= -59
    stored = corpus.read("echo", slice(0, 3))
    _, valid = hidden.values(stored, ["all"] * 3)
    assert np.array_equal(valid[:, 0], layer.values(stored, ["all"] * 3)[1][:, 0])
    assert np.array_equal(valid[:, 1], (stored[:, 1] >= -60) & (stored[:, 1] <= -59))
    chosen = layer_of(corpus, "echo", {"echo": [down.name]})
    assert hiding_outside(corpus, chosen).inside.ravel().tolist() == [-60, -59]  # type: ignore[union-attr]
    raw = Raw({"echo": torch.from_numpy(stored)}, {}, torch.ones(3, 1, 1, dtype=torch.bool), (0, 1, 2))
    worst = worst_outlier(raw, [layer])
    assert worst is not None and worst.band == 1 and "outside of the valid range of" in worst.what
