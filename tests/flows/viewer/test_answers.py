"""What the explorer's page is given: equal to the store, for the page alone, and one sentence where it cannot be."""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import rasterio
from PIL import Image
from starlette.testclient import TestClient

from exporters.report.report import write_report
from flows.viewer.address import at_chip
from flows.viewer.answers import Answers
from flows.viewer.chip_bundle import described, sendable
from flows.viewer.column import HAS_DATA, NOT_EXPORTED
from flows.viewer.export import export
from flows.viewer.search import row_of
from flows.viewer.server import application, bound, serve
from pipeline.corpus import Corpus
from pipeline.drawing import draw_all
from pipeline.errors import Fatal
from pipeline.modality import Band, Modality
from pipeline.progress import Silent
from tests.exporters.report_corpus import REASON, make_corpus


@pytest.fixture(scope="module")
def client(corpus: Corpus) -> TestClient:
    return TestClient(application(corpus), base_url="http://127.0.0.1:1")


def with_data(corpus: Corpus, layer: str) -> int:
    """A row that has the layer, and not the first one."""
    entry = next(iter(corpus.findings(layer)))
    return next(row for row in range(*entry.rows) if row not in entry.missing and row)


def unpacked(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The facts of a chip, and the bytes behind them in which its arrays lie."""
    length = int.from_bytes(content[:4], "little")
    assert (4 + length) % 8 == 0
    return json.loads(content[4 : 4 + length]), content[4 + length :]


def values_of(about: dict[str, Any], body: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Values in units as the page makes them."""
    count, about = int(np.prod(shape)), about["values"]
    stored = np.frombuffer(body, np.dtype(about["dtype"]).newbyteorder("<"), count, about["at"]).astype(float)
    values = np.where(stored == about["nodata"], np.nan, stored * about["scale"] + about["offset"])
    return np.asarray(values.reshape(shape))


def chip_of(client: TestClient, row: int) -> tuple[dict[str, Any], bytes]:
    return unpacked(client.get(f"/data/chips/{row}/chip.bin").content)


@pytest.mark.parametrize("layer", ["photo", "echo", "relief", "cover", "plain", "weather", "season"])
def test_values_are_those_of_the_store(corpus: Corpus, client: TestClient, layer: str) -> None:
    row, modality = with_data(corpus, layer), corpus.modality(layer)
    facts, body = chip_of(client, row)
    about = facts["layers"][layer]
    stored = corpus.read(layer, slice(row, row + 1))[0]
    wanted = stored.astype(float) if modality.categories else modality.physical(stored)
    got = np.array(about["values"], float) if modality.extent == "image" else values_of(about, body, stored.shape)
    np.testing.assert_array_equal(got, np.where(modality.valid(stored), wanted, np.nan))


def test_values_of_all_types_of_numbers_arrive() -> None:
    for dtype, nodata in (("int64", -1), ("float16", -9), ("float32", np.nan), ("float64", -9999), ("uint32", 7)):
        layer = Modality("one", "One", (Band("a"),), dtype, nodata, scale=0.5, offset=1.0)
        stored = np.array([[[0, 1], [3, nodata]]], dtype=dtype)
        about = {"values": described(layer, stored) | {"at": 0}}
        got = values_of(about, sendable(stored).tobytes(), stored.shape)
        np.testing.assert_array_equal(got, layer.physical(stored), err_msg=dtype)


def test_pictures_and_rasters_are_those_of_the_report_and_of_convert(corpus: Corpus, client: TestClient) -> None:
    row, size_px = with_data(corpus, "echo"), corpus.manifest.size_px
    facts, body = chip_of(client, row)
    for layer in (layer for layer in corpus.modalities.values() if layer.extent == "pixel"):
        stored = corpus.read(layer.name, slice(row, row + 1))[0]
        wanted = draw_all(layer, stored, 10.0)
        about = facts["layers"][layer.name]["pictures"]
        assert [each["band"] for each in about] == [band for band, _ in wanted]
        for each, (_, drawn) in zip(about, wanted, strict=True):
            got = np.frombuffer(body, np.uint8, 3 * size_px**2, each["at"]).reshape(drawn.shape)
            np.testing.assert_array_equal(got, drawn)
    stored = corpus.read("echo", slice(row, row + 1))[0]
    answer = client.get(f"/data/chips/{row}/echo@down.png")
    drawn = dict(draw_all(corpus.modality("echo"), stored, 10.0))["down"]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), drawn)
    with rasterio.open(io.BytesIO(client.get(f"/data/chips/{row}/echo.tif").content)) as file:
        np.testing.assert_array_equal(file.read(), stored)
        assert file.crs.to_string() == corpus.manifest[row].grid.crs


def test_the_map_opens_in_colours_that_tell_places_apart(client: TestClient, tmp_path: Path) -> None:
    assert client.get("/data/corpus.json").json()["colour"] == "biome"
    alike = TestClient(application(make_corpus(tmp_path / "alike", count=8, biomes=1)), base_url="http://127.0.0.1")
    summary = alike.get("/data/corpus.json").json()
    labels = {name: alike.get(f"/data/columns/{name}.json").json()["labels"] for name in ("biome", "ecoregion")}
    assert len(labels["biome"]) == 1 and summary["colour"] == ("ecoregion" if len(labels["ecoregion"]) > 1 else "split")


def test_a_column_of_a_layer_says_who_has_it_and_why_others_do_not(corpus: Corpus, client: TestClient) -> None:
    assert {"name": "layer:echo", "title": "echo"} in client.get("/data/corpus.json").json()["columns"]
    column = client.get("/data/columns/layer:echo.json").json()
    codes = np.frombuffer(client.get("/data/columns/layer:echo.bin").content, column["dtype"])
    said = np.array(column["labels"])[codes]
    wanted = np.full(len(corpus.manifest), NOT_EXPORTED, dtype=object)
    for entry in corpus.entries("echo"):
        wanted[slice(*entry.rows)] = HAS_DATA
        for row in entry.missing:
            wanted[row] = REASON.replace(" 30", "")
    assert said.tolist() == wanted.tolist() and len(set(wanted)) == 3


def test_values_of_a_column_are_those_of_its_labels_while_shards_fill(corpus: Corpus, tmp_path: Path) -> None:
    shutil.copytree(corpus.folder, tmp_path / "filling")
    filling = Corpus.open(tmp_path / "filling")
    client = TestClient(application(filling), base_url="http://127.0.0.1:1")
    before = client.get("/data/columns/layer:echo.json").json()
    (entry,) = filling.ledger.without_statistics("echo", [0])
    filling.ledger.mark(replace(filling.ledger.read("echo", 0), missing={row: "another" for row in range(*entry.rows)}))
    codes = np.frombuffer(client.get("/data/columns/layer:echo.bin").content, before["dtype"])
    row = next(row for row in range(*entry.rows) if row not in entry.missing)
    assert before["labels"][codes[row]] == HAS_DATA
    after = client.get("/data/columns/layer:echo.json").json()
    codes = np.frombuffer(client.get("/data/columns/layer:echo.bin").content, after["dtype"])
    assert after["labels"][codes[row]] == "another"


def test_columns_are_those_of_the_manifest(corpus: Corpus) -> None:
    columns = Answers(corpus).columns
    biome = columns["biome"]
    assert [biome.labels[code] for code in biome.values] == [
        name or "not known" for name in corpus.manifest.column("biome_name").tolist()
    ]
    split = columns["split"]
    assert [split.labels[code] for code in split.values] == corpus.manifest.column("split").tolist()
    days = corpus.manifest.column("anchor_time").astype("datetime64[s]").astype(float) / 86400
    np.testing.assert_allclose(columns["date"].values, days, atol=0.01)


def test_chips_without_a_scene_of_a_pass_are_told(corpus: Corpus) -> None:
    column = Answers(corpus).columns["ascending"]
    said = [column.labels[code] for code in column.values]
    assert said == ["none" if chip.acquisition.ascending is None else "there" for chip in corpus.manifest]


def test_a_search_finds_places_scenes_and_rows(corpus: Corpus, client: TestClient) -> None:
    def found(text: str) -> list[int]:
        return list(client.get("/data/find.json", params={"text": text}).json()["rows"])

    chip = corpus.manifest[7]
    assert found(chip.location.id) == [7] and 7 in found("7")
    assert found(chip.acquisition.anchor.asset_id.lower() + "x") == []
    scenes = corpus.manifest.column("anchor_id").tolist()
    assert found("a/1") == [row for row, name in enumerate(scenes) if "A/1" in name] != []
    assert found("") == [] and found("<script>") == []


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("data/chips/9999/chip.bin", "there is no chip in row '9999'"),
        ("data/chips/-1/chip.bin", "there is no chip in row '-1'"),
        ("data/chips/1/ecko.png", "did you mean 'echo'?"),
        ("data/chips/1/weather.png", "has no picture"),
        ("data/columns/split2.bin", "did you mean 'split'?"),
        ("data/nothing", "has nothing under 'nothing'"),
        ("../pyproject.toml", "no page"),
        ("%2e%2e/pyproject.toml", "no page"),
    ],
)
def test_what_there_is_not_is_one_sentence(client: TestClient, path: str, sentence: str) -> None:
    answer = client.get(f"/{path}")
    assert answer.status_code == 404 and sentence in answer.json()["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:1"},
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:2"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_other_pages_and_other_names_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.get("/data/corpus.json", headers=headers)
    assert answer.status_code == 403 and "explorer" in answer.text


def test_it_only_reads(client: TestClient) -> None:
    assert client.post("/data/corpus.json").status_code == client.delete("/").status_code == 403
    assert client.get("/", headers={"origin": "http://127.0.0.1:1", "sec-fetch-site": "same-origin"}).status_code == 200
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy and "http:" not in policy


def test_a_damaged_shard_is_one_sentence_and_the_rest_goes_on(corpus: Corpus, tmp_path: Path) -> None:
    shutil.copytree(corpus.folder, tmp_path / "damaged")
    damaged = Corpus.open(tmp_path / "damaged")
    row = with_data(damaged, "relief")
    path = damaged.object_path("relief", damaged.shards[row // damaged.shard_rows])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    client = TestClient(application(damaged), base_url="http://localhost")
    answer = client.get(f"/data/chips/{row}/relief.png")
    assert answer.status_code == 404 and "relief" in answer.json()["error"] and "verify" in answer.json()["error"]
    layers = chip_of(client, row)[0]["layers"]
    assert not layers["relief"]["there"] and layers["relief"]["note"] == answer.json()["error"]
    assert layers["photo"]["there"]
    assert client.get(f"/data/chips/{row}/cover.png").status_code == 200


def test_a_layer_that_is_not_there_says_why(corpus: Corpus, client: TestClient) -> None:
    last = len(corpus.manifest) - 1
    assert chip_of(client, last)[0]["layers"]["echo"] == {"there": False, "note": NOT_EXPORTED}
    assert NOT_EXPORTED in client.get(f"/data/chips/{last}/echo@up.png").json()["error"]


def test_a_port_that_is_taken_and_no_corpus_are_one_sentence(corpus: Corpus, tmp_path: Path) -> None:
    with bound(0) as taken:
        taken.listen()
        with pytest.raises(Fatal, match="choose another --port"):
            serve(corpus.folder, taken.getsockname()[1], False, print)
    with pytest.raises(Fatal, match="no corpus"):
        serve(tmp_path, 0, False, print)


def test_a_corpus_without_finalize_is_shown_and_its_report_says_what_writes_it(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "young", count=8, size_px=16, unfinished=1)
    assert not (corpus.folder / "statistics.json").exists() and not (corpus.folder / "report.html").exists()
    client = TestClient(application(corpus), base_url="http://127.0.0.1")
    summary = client.get("/data/corpus.json").json()
    assert summary["report"] is False and summary["chips"] == 8
    for column in summary["columns"]:
        assert client.get(f"/data/columns/{column['name']}.bin").status_code == 200
    assert client.get("/data/chips/3/photo.png").status_code == 200
    answer = client.get("/report.html")
    assert answer.status_code == 404 and f"geocorpus report {corpus.folder}" in answer.json()["error"]


def test_the_report_leads_to_each_chip(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "told", count=8, size_px=16)
    page = write_report(corpus.folder).read_text()
    client = TestClient(application(corpus), base_url="http://127.0.0.1")
    assert client.get("/data/corpus.json").json()["report"] is True
    served = client.get("/report.html")
    assert served.headers["content-type"].startswith("text/html") and "index.html#" not in page
    rows = {json.loads(unquote(text))["chip"] for text in re.findall('href="index.html#([^"]+)"', served.text)}
    assert rows == set(range(8))
    export(corpus.folder, tmp_path / "site", 3, Silent())
    beside = (tmp_path / "site" / "report.html").read_text()
    exported = json.loads((tmp_path / "site" / "data" / "corpus.json").read_text())
    rows = {json.loads(unquote(text))["chip"] for text in re.findall('href="index.html#([^"]+)"', beside)}
    assert rows == set(exported["exported"]) and len(rows) == 3 and exported["report"] is True


def test_a_chip_that_is_named_is_open_at_the_address(corpus: Corpus) -> None:
    chip = corpus.manifest[7].location.id
    assert row_of(corpus, chip) == row_of(corpus, "7") == 7
    assert unquote(at_chip(7)) == '#{"chip":7}'
    for text in ("20", "-1", "nobody"):
        with pytest.raises(Fatal, match=f"has no chip '{text}'; its ids are like"):
            serve(corpus.folder, 0, False, print, chip=text)


def test_the_files_of_an_export_are_the_answers_of_the_server(
    corpus: Corpus, client: TestClient, tmp_path: Path
) -> None:
    line = export(corpus.folder, tmp_path / "site", 5, Silent())
    assert f"{len(corpus.manifest)} places and 5 chips" in line
    data = tmp_path / "site" / "data"
    summary = json.loads((data / "corpus.json").read_text())
    assert len(summary["exported"]) == 5 and summary["folder"] == corpus.folder.name
    for path in data.rglob("*"):
        if path.is_file() and path.name not in ("corpus.json",) and path.suffix != ".tif":
            assert path.read_bytes() == client.get(f"/data/{path.relative_to(data).as_posix()}").content, path
    assert (tmp_path / "site" / "index.html").exists()
    with pytest.raises(Fatal, match="has something in it"):
        export(corpus.folder, tmp_path / "site", 5, Silent())


class _Stopped(Silent):
    """Ends what it is told about after the first chip, as Ctrl+C does."""

    def advance(self, count: int = 1) -> None:
        raise KeyboardInterrupt


def test_a_stopped_export_leaves_nothing_and_goes_again(corpus: Corpus, tmp_path: Path) -> None:
    target = tmp_path / "my site"
    with pytest.raises(KeyboardInterrupt):
        export(corpus.folder, target, 2, _Stopped())
    assert not list(tmp_path.iterdir())
    target.mkdir()
    assert "and 2 chips" in export(corpus.folder, target, 2, Silent())
    assert [path.name for path in tmp_path.iterdir()] == ["my site"]


def test_an_export_is_not_written_into_its_corpus_or_over_a_file(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for target, words in ((corpus.folder / "site", "lies in it"), (tmp_path / "notes.txt", "has something in it")):
        with pytest.raises(Fatal, match=words):
            export(corpus.folder, target, 2, Silent())
    assert (tmp_path / "notes.txt").read_text() == "mine" and not (corpus.folder / "site").exists()


def test_shards_that_fill_are_seen(corpus: Corpus, client: TestClient) -> None:
    work = client.get("/data/work.json").json()
    assert work["run"] is None and work["shards"] == len(corpus.shards)
    assert work["done"] == {name: len(corpus.finished(name)) for name in corpus.modalities}
