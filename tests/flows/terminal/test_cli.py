"""Bad input: one clear sentence, exit code 2, nothing written; and no secret in any file."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.flows.jobs import geocorpus
from tests.pipeline.chips import MODALITIES, make_manifest

pytestmark = pytest.mark.slow  # each starts the command line anew


def refused(*arguments: str) -> str:
    """The one sentence of a refusal."""
    outcome = geocorpus(*arguments)
    assert outcome.returncode == 2, outcome.stderr
    assert outcome.stdout == ""
    lines = [line for line in outcome.stderr.splitlines() if not line.startswith(("sample:", "anchor:", "export:"))]
    assert len(lines) == 1 and lines[0].startswith("geocorpus: "), outcome.stderr
    assert "Traceback" not in outcome.stderr
    return lines[0]


def nothing_in(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())


def test_unknown_modality_names_the_nearest(tmp_path: Path) -> None:
    said = refused("sample", "demo", f"corpus.folder={tmp_path / 'c'}", "corpus.modalities=['sentinel_2']")
    assert "did you mean 'sentinel2'" in said
    assert nothing_in(tmp_path / "c")


def test_a_region_file_without_the_columns(tmp_path: Path) -> None:
    regions = tmp_path / "regions.geojson"
    regions.write_text(
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"name": "x"}, "geometry": '
        '{"type": "Polygon", "coordinates": [[[0,0],[1,0],[1,1],[0,0]]]}}]}'
    )
    said = refused("sample", "demo", f"corpus.folder={tmp_path / 'c'}", f"sampling.regions={regions}")
    assert "ECO_NAME" in said and "regions.geojson" in said
    assert nothing_in(tmp_path / "c")


def test_a_store_of_another_manifest(tmp_path: Path) -> None:
    from pipeline.corpus import Corpus

    make_manifest(tmp_path, 5)
    Corpus.create(tmp_path, MODALITIES, shard_rows=32)
    make_manifest(tmp_path, 6)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert "belongs to another manifest" in refused("finalize", "demo", f"corpus.folder={tmp_path}")
    assert "belongs to another manifest" in refused("status", str(tmp_path))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_unwritable_path(tmp_path: Path) -> None:
    points = tmp_path / "points.csv"
    points.write_text("lon,lat\n7.5,45.5\n")
    said = refused("sample", "demo", "corpus.folder=/proc/geocorpus", f"sampling.points={points}", "sampling.regions=")
    assert "cannot write /proc/geocorpus" in said


def test_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    said = refused("sample", "demo", f"corpus.folder={tmp_path / 'c'}", "source.project=my-project")
    assert "earthengine authenticate" in said
    assert nothing_in(tmp_path / "c")


def test_a_sandbox_that_is_not_running(tmp_path: Path) -> None:
    said = refused("sample", "demo", f"corpus.folder={tmp_path / 'c'}", "source.url=http://127.0.0.1:9")
    assert "nothing answers at http://127.0.0.1:9" in said and "geocorpus sandbox serve" in said
    assert nothing_in(tmp_path / "c")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sample", "absent.toml"), "no configuration 'absent.toml'"),
        (("sample", "demo", "corpus.foldr=x"), "did you mean 'corpus.folder'"),
        (("sample", "demo", "anchor.years=[]"), "anchor.years"),
        (("sample", "demo", "anchor.levels=['l3']"), "anchor.levels"),
        (("sample", "demo", "split.train=0.5"), "must sum to 1"),
        (("sample", "demo", "corpus.seed=-1"), "corpus.seed"),
        (("sample", "demo", "pretrain.stepz=3"), "did you mean 'pretrain.steps'"),
        (("sample", "demo", "pretrain.run=../evil"), "pretrain.run"),
        (("status", "/nowhere"), "there is no corpus in /nowhere"),
        (("anchor", "demo", "corpus.folder=/nowhere", "source.url=http://127.0.0.1:9"), "http://127.0.0.1:9"),
        (("pretrain", "demo", "corpus.folder=/nowhere"), "there is no corpus in /nowhere"),
        (("pretrain", "demo", "pretrain.preset=demoo"), "did you mean 'demo'"),
        (("retry", "/nowhere"), "there is no corpus in /nowhere"),
        (("verify", "/nowhere"), "there is no corpus in /nowhere"),
        (("report", "/nowhere"), "there is no corpus in /nowhere"),
        (("status", ""), "it is empty; give the folder of a corpus"),
        (("sample", "demo", "corpus.folder="), "corpus.folder = '' is not allowed: it is empty"),
        (("modality", "new", "lambda"), "a modality cannot be called 'lambda'"),
        (("exprt", "demo"), "exprt"),
        (("demo", "sensor"), "unknown demo 'sensor'; did you mean 'sensors'?"),
        (("build",), "build --help` shows how it is used."),
        (("sandbox", "serve", "--port", "99999"), "--port"),
        (("sandbox", "serve", "--latency", "-1"), "--latency"),
        (("sandbox", "serve", "--index", "index.toml"), "with --rasters."),
        (("sample", "demo", "source.url=http://127.0.0.1:99999"), "source.url"),
        (("sample", "demo", "source.url=http://127.0.0.1:a"), "source.url"),
        (("export", "demo", "cluster.port=99999"), "cluster.port"),
        (("export", "demo", "cluster.kind=address", "cluster.address=head:99999"), "cluster.address"),
    ],
)
def test_wrong_words(arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(*arguments)


def test_a_port_that_another_program_has() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        said = refused("sandbox", "serve", "--port", f"{taken}")
    assert f"cannot listen at 127.0.0.1:{taken} (Address already in use); give another --port" in said


@pytest.mark.parametrize(
    ("store", "words"), [("ftp://host/corpus.zarr", "ftp://host"), ("s3://me:word@bucket/corpus.zarr", "credentials")]
)
def test_a_store_that_cannot_be_is_refused_before_anything_is_written(tmp_path: Path, store: str, words: str) -> None:
    said = refused("sample", "demo", f"corpus.folder={tmp_path / 'c'}", f"corpus.store={store}", "sampling.regions=")
    assert words in said and "me:word" not in said
    assert nothing_in(tmp_path / "c")


def test_settings_cannot_change_under_a_corpus(tmp_path: Path) -> None:
    points = tmp_path / "points.csv"
    points.write_text("lon,lat\n7.5,45.5\n-60.1,-3.2\n")
    ours = ("demo", f"corpus.folder={tmp_path / 'c'}", f"sampling.points={points}", "sampling.regions=")
    assert geocorpus("sample", *ours).returncode == 0
    assert "corpus.seed = 0, not 5" in refused("sample", *ours, "corpus.seed=5")
    assert "candidates" in geocorpus("status", str(tmp_path / "c")).stdout


def test_a_prefect_api_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    said = refused("sample", "demo", f"corpus.folder={tmp_path / 'c'}", "source.url=http://127.0.0.1:9")
    assert "the configured Prefect API http://127.0.0.1:9/api does not answer" in said
    assert nothing_in(tmp_path / "c")


def sampled(folder: Path, points: Path) -> tuple[str, ...]:
    points.write_text("lon,lat\n7.5,45.5\n-60.1,-3.2\n")
    ours = (f"sampling.points={points}", "sampling.regions=")
    assert geocorpus("sample", "demo", f"corpus.folder={folder}", *ours).returncode == 0
    return ours


def test_a_folder_is_itself_wherever_it_was_made(tmp_path: Path) -> None:
    sampled(tmp_path / "before", tmp_path / "points.csv")
    (tmp_path / "before").rename(tmp_path / "after")
    assert geocorpus("sample", str(tmp_path / "after")).returncode == 0
    assert not (tmp_path / "before").exists()
    assert "2 candidates" in geocorpus("status", str(tmp_path / "after")).stdout


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    sampled(tmp_path / "c", tmp_path / "points.csv")
    (tmp_path / "c" / "locations.parquet").write_bytes(b"PAR1 half a file")
    assert "locations.parquet cannot be read" in refused("status", str(tmp_path / "c"))
