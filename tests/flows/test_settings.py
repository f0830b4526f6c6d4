"""Settings: strict, overridable, saved so that they can be given again, and held to once a corpus is begun."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from exporters.anchor.scene_rules import AnchorRules
from exporters.earth_engine import compute
from exporters.earth_engine.connection import Connection
from flows.growth import refuse_changes
from flows.settings import SAVED_AS, ClusterSettings, Settings, as_typed, load, of_parameters, parse, shipped
from flows.stages import check
from flows.stages import connection as connection_of
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
        ("sampling.locations=many", "sampling.locations = 'many' is not allowed: it must be a whole number."),
        ("sampling.locations=1.5", "it must be a whole number."),
        ("sampling.locations=0", "sampling.locations = 0 is not allowed: it must be at least 1."),
        ("corpus.modalities=sentinel2", 'it must be a list, such as ["sentinel2"].'),
        ("anchor.years=2019", "it must be a list."),
        ("corpus.folder=3", "it must be a path."),
        ("source.kind=files", "needs a [layers.NAME] with files"),
        ("split.angle_rad=nan", "split.angle_rad = nan is not allowed"),
        ("split.angle_rad=inf", "split.angle_rad = inf is not allowed"),
        ("pretrain.blr=nan", "pretrain.blr must be a finite number, not nan"),
        ("pretrain.seed=1e30", "pretrain.seed must be below"),
        (
            "split.areas=[{extent = [1.0, 2.0, 3.0]}]",
            "[1.0, 2.0, 3.0] is not allowed: it must be a list of 4 values.",
        ),
        ("split.extent=[1.0]", "split.extent = [1.0] is not allowed: it must be a list of 4 values."),
        ("split.areas=[{angle_rad = 0.1}]", "setting split.areas.0.extent is not set; give it as well."),
        (
            "split.areas=[{extend = [1.0, 2.0, 3.0, 4.0]}]",
            "did you mean 'split.areas.0.extent'",
        ),
        (
            "split.areas=[{extent = [1.0, 2.0, 3.0, 4.0], angle = 1}]",
            "'split.areas.0.angle'; did you mean 'split.areas.0.angle_rad'",
        ),
        ("split.extend=1", "unknown setting 'split.extend'; did you mean 'split.extent'"),
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


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[corpus]\nfolder = "corpus"\n', encoding="utf-8-sig")
    assert load(str(tmp_path / "mine.toml")).folder == Path("corpus")


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
    refuse_changes(load("demo", [f"corpus.folder={tmp_path}", "source.concurrency=3", "pretrain.preset=atto"]))
    for change in ("sampling.locations=7", "corpus.seed=1", "anchor.max_cloud_percent=20", "split.cell_deg=2"):
        with pytest.raises(Fatal, match=change.split("=")[0]):
            refuse_changes(load("demo", [f"corpus.folder={tmp_path}", change]))


def test_clouds_over_a_chip_are_limited_only_where_asked_and_only_for_levels_that_tell_them(tmp_path: Path) -> None:
    mine = load("demo", [f"corpus.folder={tmp_path}"])
    mine.save()
    assert "max_chip_cloud_percent" not in (tmp_path / SAVED_AS).read_text()
    limited = [f"corpus.folder={tmp_path}", "anchor.max_chip_cloud_percent=5"]
    with pytest.raises(Fatal, match="anchor.max_chip_cloud_percent"):
        refuse_changes(load("demo", limited))
    (tmp_path / SAVED_AS).unlink()
    check(load("demo", [*limited, "anchor.levels=['l2a']"]), "anchor")
    with pytest.raises(Fatal, match=r"level l1c do not have; give anchor.levels"):
        check(load("demo", [*limited, "anchor.levels=['l1c', 'l2a']"]), "sample")


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


@pytest.mark.parametrize("key", ["corpus.folder", "sampling.points"])
@pytest.mark.parametrize("text", ["", "''"])
def test_an_empty_path_is_not_the_working_folder(key: str, text: str) -> None:
    with pytest.raises(Fatal, match=f"setting {key} = '' is not allowed: it is empty; give a path, or . for"):
        load("demo", [f"{key}={text}"])


def test_an_empty_path_in_a_list_is_refused_and_a_dot_is_the_working_folder() -> None:
    for key in ("corpus.modality_files", "sampling.exclude"):
        with pytest.raises(Fatal, match="it is empty; give a path"):
            load("demo", [f"{key}=['x', '']"])
    assert load("demo", ["corpus.folder=."]).folder == Path()
    with pytest.raises(Fatal, match="no configuration ''"):
        load("")


def begun(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A corpus in a folder of this name, in the working folder."""
    monkeypatch.chdir(folder)
    load(name, [f"corpus.folder={name}", "sampling.locations=7"]).save()


def test_a_folder_called_like_a_shipped_configuration_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun("demo", monkeypatch, tmp_path)
    with pytest.raises(
        Fatal, match="demo is a shipped configuration, and .* is here as well; write ./demo for what is"
    ):
        load("demo")
    assert load("./demo").sampling.locations == 7
    assert load(str(shipped()["demo"])).folder == Path("out/demo")
    assert as_typed(Path("demo")) == "./demo" and as_typed(Path("mine")) == "mine"


def test_an_empty_folder_or_a_file_of_such_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    assert load("demo").folder == Path("out/demo")
    (tmp_path / "mmearth").write_text("")
    with pytest.raises(Fatal, match="mmearth is a shipped configuration"):
        load("mmearth")


def test_the_folder_where_a_shipped_configuration_has_its_corpus_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun("mmearth", monkeypatch, tmp_path)
    assert load("mmearth").sampling.locations == 7
    assert as_typed(Path("mmearth")) == "mmearth"


def test_what_decides_no_chip_does_not_keep_an_older_folder_from_going_on(tmp_path: Path) -> None:
    """An earlier version saved what it did not check."""
    mine = load("demo", [f"corpus.folder={tmp_path}"])
    mine.save()
    saved = tmp_path / "config.toml"
    saved.write_text(saved.read_text().replace("[finetune]", "[finetune]\nnonsense = 1"))
    refuse_changes(mine)
    with pytest.raises(Fatal, match=f"in {saved}: unknown setting 'finetune.nonsense'"):
        load(str(tmp_path))


def saved_cluster(folder: Path) -> dict[str, Any]:
    return dict(tomllib.loads((folder / "config.toml").read_text())["cluster"])


@pytest.mark.parametrize("through", [lambda settings: settings, lambda settings: of_parameters(settings.parameters())],
                         ids=["at once", "as a flow"])  # fmt: skip
def test_a_cluster_that_is_given_once_is_for_once(tmp_path: Path, through: Callable[[Settings], Settings]) -> None:
    once = through(load("demo", [f"corpus.folder={tmp_path}", "cluster.kind=local", "cluster.workers=3"]))
    assert (once.cluster.kind, once.cluster.workers) == ("local", 3)
    once.save()
    assert saved_cluster(tmp_path)["kind"] == "none" and load(str(tmp_path)).cluster == ClusterSettings()


def test_a_cluster_that_the_file_names_stays(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'[corpus]\nfolder = "{tmp_path}"\n[cluster]\nkind = "local"\nworkers = 3\n')
    load(str(path), ["cluster.kind=none"]).save()
    assert saved_cluster(tmp_path)["kind"] == "local"
    of_parameters(load(str(tmp_path), ["cluster.workers=5", "source.concurrency=7"]).parameters()).save()
    again = load(str(tmp_path))
    assert (again.cluster.kind, again.cluster.workers) == ("local", 3), "one run does not change it"
    assert again.source.concurrency == 7, "what belongs to the corpus and its project is kept"


def test_a_flow_that_was_deployed_before_goes_on() -> None:
    settings = load("demo", ["cluster.kind=local"])
    assert of_parameters(settings.model_dump(mode="json")).cluster == settings.cluster


@pytest.mark.parametrize(("held", "given"), [("spread", "init_std"), ("init_std", "spread")])
def test_an_override_counts_whatever_the_file_calls_the_setting(tmp_path: Path, held: str, given: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'[pretrain]\n{held} = "fixed"\n')
    assert load(str(path), [f"pretrain.{given}=fan-in"]).pretrain == {given: "fan-in"}


def test_a_corpus_of_an_older_release_does_not_keep_the_deadline_that_races_the_service(tmp_path: Path) -> None:
    path = tmp_path / SAVED_AS
    for saved, meant in (("300.0", Connection.deadline_s), ("300", Connection.deadline_s), ("299.5", 299.5)):
        path.write_text(f"[source]\ndeadline_s = {saved}\n")
        assert load(str(tmp_path)).source.deadline_s == meant
