"""Settings: strict, overridable, saved so that they can be given again, and held to once a corpus is begun."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from exporters.anchor.scene_rules import AnchorRules
from exporters.earth_engine import compute
from exporters.earth_engine.connection import Connection
from flows.settings import SAVED_AS, Settings, load, parse, shipped
from flows.stages import _connection as connection_of
from pipeline.errors import Fatal


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_configurations_are_legal(name: str) -> None:
    assert isinstance(load(name), Settings)


def test_the_demo_becomes_real_by_one_value() -> None:
    assert load("demo").uses_sandbox
    assert not load("demo", ["source.project=my-project"]).uses_sandbox
    assert not load("demo", ["source.url=http://127.0.0.1:1"]).uses_sandbox


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("sampling.locatons=5", "did you mean 'sampling.locations'"),
        ("samplng.locations=5", "did you mean 'sampling'"),
        ("sampling.locations=many", "sampling.locations = 'many' is not allowed"),
        ("sampling.locations=0", "sampling.locations = 0 is not allowed"),
        ("split.angle_rad=nan", "split.angle_rad = nan is not allowed"),
        ("split.angle_rad=inf", "split.angle_rad = inf is not allowed"),
        ("pretrain.blr=nan", "pretrain.blr must be a finite number, not nan"),
        ("pretrain.seed=1e30", "pretrain.seed must be below"),
        ("split.extent=[-20.0, nan, 40.0, 60.0]", "it must be a number, not nan"),
        ("sampling.weights={forest = nan}", "it must be a number, not nan"),
        ("locations=5", "write it as section.key=value"),
        ("sampling.locations", "write it as section.key=value"),
        ("finetune.nonsense=1", "unknown setting 'finetune.nonsense'"),
        ("finetune.epoch=1", "did you mean 'finetune.epochs'"),
        ("finetune.epochs=0", "finetune.epochs must be at least 1, not 0"),
        ("finetune.per=chips", "unknown finetune.per 'chips'; did you mean 'chip'"),
        ("pretrain.batchsize=3", "did you mean 'pretrain.batch_size'"),
        ("pretrain.batch_size=many", "pretrain.batch_size must be a whole number, not 'many'"),
        ("pretrain.bands=3", "pretrain.bands must be a table, not 3"),
        ("pretrain.preset.deep=1", "reaches into 'preset'"),
    ],
)
def test_wrong_settings_are_named(override: str, words: str) -> None:
    with pytest.raises(Fatal) as caught:
        load("demo", [override])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_overrides_take_toml_values_and_bare_words() -> None:
    settings = load("demo", ["anchor.years=[2019, 2020]", "corpus.folder=some/where", "source.project=p"])
    assert settings.anchor.years == (2019, 2020)
    assert settings.folder == Path("some/where")


def test_saved_settings_are_the_same_settings(tmp_path: Path) -> None:
    settings = load("demo", [f"corpus.folder={tmp_path}", "corpus.modalities=['a', 'b']", "pretrain.preset=demo"])
    settings.save()
    assert load(str(tmp_path)) == settings
    assert load(str(tmp_path / SAVED_AS)) == settings


def test_what_decides_the_chips_cannot_change_under_a_corpus(tmp_path: Path) -> None:
    load("demo", [f"corpus.folder={tmp_path}"]).save()
    load("demo", [f"corpus.folder={tmp_path}", "source.concurrency=3", "pretrain.preset=atto"]).refuse_changes()
    for change in ("sampling.locations=7", "corpus.seed=1", "anchor.max_cloud_percent=20", "split.cell_deg=2"):
        with pytest.raises(Fatal, match=change.split("=")[0]):
            load("demo", [f"corpus.folder={tmp_path}", change]).refuse_changes()


def test_a_default_is_the_same_for_the_command_and_for_the_library() -> None:
    """In value and in type: what decides the scenes is hashed as it is written."""
    anchor = AnchorRules(**parse({}).anchor.model_dump())
    assert json.dumps(asdict(anchor)) == json.dumps(asdict(AnchorRules()))
    assert connection_of(parse({}), None) == Connection("sandbox", profile_every=compute.EVERY)


@pytest.mark.parametrize("content", ["not toml [", "\xff"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(Fatal, match="x.toml cannot be read as TOML"):
        load(str(path))
    with pytest.raises(Fatal, match="no configuration"):
        load(str(tmp_path / "absent.toml"))
    with pytest.raises(Fatal, match="setting"):
        parse({"corpus": 3})


def test_what_decides_no_chip_does_not_keep_an_older_folder_from_going_on(tmp_path: Path) -> None:
    """An earlier version saved what it did not check."""
    mine = load("demo", [f"corpus.folder={tmp_path}"])
    mine.save()
    saved = tmp_path / "config.toml"
    saved.write_text(saved.read_text().replace("[finetune]", "[finetune]\nnonsense = 1"))
    mine.refuse_changes()
    with pytest.raises(Fatal, match=f"in {saved}: unknown setting 'finetune.nonsense'"):
        load(str(tmp_path))


@pytest.mark.parametrize(("held", "given"), [("spread", "init_std"), ("init_std", "spread")])
def test_an_override_counts_whatever_the_file_calls_the_setting(tmp_path: Path, held: str, given: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'[pretrain]\n{held} = "fixed"\n')
    assert load(str(path), [f"pretrain.{given}=fan-in"]).pretrain == {given: "fan-in"}
