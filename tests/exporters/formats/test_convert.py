"""A target is whole or absent, and nothing is overwritten without being asked to."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from exporters.formats.choice import Choice
from exporters.formats.convert import write_out
from exporters.formats.format import Format, format_of, formats
from pipeline.errors import Fatal
from pipeline.progress import Silent
from tests.pipeline.damage import finished_corpus


def _write(selection, target, options, progress):
    target.mkdir()
    (target / "rows.txt").write_text(" ".join(map(str, selection.rows)) + options.get("end", ""))
    return f"{len(selection)} chips."


def _fail(selection, target, options, progress):
    target.write_text("half")
    raise Fatal("cannot hold it.")


PLAIN = Format("plain", "Row numbers", _write, {"end": "what comes last"}, leaves=lambda folder: {"rows.txt"})
BROKEN = Format("broken", "Fails half-way", _fail)


@pytest.fixture(autouse=True)
def plain_is_known(monkeypatch):
    monkeypatch.setattr("exporters.formats.convert.formats", lambda: formats() | {"plain": PLAIN})


@pytest.fixture
def selection(tmp_path):
    return Choice(rows="2:4").of(finished_corpus(tmp_path / "corpus", chips=10, shard_rows=4))


def test_a_folder_is_written(selection, tmp_path):
    assert write_out(PLAIN, selection, tmp_path / "deep" / "out", {"end": "!"}, False, Silent()) == "2 chips."
    assert (tmp_path / "deep" / "out" / "rows.txt").read_text() == "2 3!"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_what_fails_leaves_nothing_and_what_was_there(selection, tmp_path):
    target = tmp_path / "out"
    with pytest.raises(Fatal, match="cannot hold"):
        write_out(BROKEN, selection, target, {}, False, Silent())
    with pytest.raises(Fatal, match="cannot hold"):
        write_out(BROKEN, selection, tmp_path / "deep" / "er" / "out", {}, False, Silent())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus"]
    write_out(PLAIN, selection, target, {}, False, Silent())
    with pytest.raises(Fatal, match="cannot hold"):
        write_out(BROKEN, selection, target, {}, True, Silent())
    assert (target / "rows.txt").read_text() == "2 3"


STOPPED = """
import sys, threading
from pathlib import Path
from exporters.formats.convert import put_out
from pipeline import stopping

def write(draft):
    draft.mkdir()
    (draft / "half").write_text("much")
    print("works", flush=True)
    threading.Event().wait()

stopping.install()
put_out([], Path(sys.argv[1]) / "out", False, write)
"""


def test_a_signal_leaves_no_draft_and_promises_no_going_on(tmp_path):
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", STOPPED, str(tmp_path)]
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None and process.stdout.readline() == "works\n"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert errors == "\ngeocorpus: stopped; nothing was kept, and the same command starts anew.\n"
    assert list(tmp_path.iterdir()) == []


def test_a_target_is_replaced_only_when_asked_to(selection, tmp_path):
    target = tmp_path / "out"
    target.write_text("mine")
    with pytest.raises(Fatal, match="--overwrite"):
        write_out(PLAIN, selection, target, {}, False, Silent())
    assert target.read_text() == "mine"
    write_out(PLAIN, selection, target, {}, True, Silent())
    assert (target / "rows.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "out"]


@pytest.mark.parametrize("name", ["locations.parquet", "import.json"])
def test_a_corpus_that_was_pulled_or_imported_is_never_replaced(selection, tmp_path, name):
    target = tmp_path / "paid"
    target.mkdir()
    (target / name).write_text("weeks of work")
    with pytest.raises(Fatal, match="pulled or imported, and --overwrite would delete it; .* remove that folder your"):
        write_out(PLAIN, selection, target, {}, True, Silent())
    assert (target / name).read_text() == "weeks of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "paid"]


def test_the_folder_in_which_one_works_is_never_replaced(selection, tmp_path, monkeypatch):
    inside = tmp_path / "thesis" / "figures"
    inside.mkdir(parents=True)
    (tmp_path / "thesis" / "text.md").write_text("mine")
    monkeypatch.chdir(inside)
    for target in (tmp_path / "thesis", inside, tmp_path / "corpus" / ".." / "thesis"):
        with pytest.raises(Fatal, match="the working folder or your home; choose another target"):
            write_out(PLAIN, selection, target, {}, True, Silent())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(inside))
    with pytest.raises(Fatal, match="the working folder or your home; choose another target"):
        write_out(PLAIN, selection, tmp_path / "thesis", {}, True, Silent())
    assert (tmp_path / "thesis" / "text.md").read_text() == "mine" and inside.is_dir()


OURS = {
    "plain": ("plain", {}), "corpus": ("corpus", {}), "rasters": ("geotiff", {}), "cog": ("cog", {}),
    "tars": ("webdataset", {}), "chips": ("zarr", {}), "layers": ("zarr", {"by": "layer"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", OURS)
def test_a_folder_is_replaced_until_something_of_somebodys_own_lies_in_it(selection, tmp_path, kind):
    (name, options), target = OURS[kind], tmp_path / "out"
    chosen = PLAIN if kind == "plain" else format_of(name, options)
    for overwrite in (False, True):
        write_out(chosen, selection, target, options, overwrite, Silent())
    (target / "thesis.md").write_text("mine")
    for other in (chosen, PLAIN):
        with pytest.raises(Fatal, match=r"out holds thesis.md, which this command does not write"):
            write_out(other, selection, target, {}, True, Silent())
    (target / "thesis.md").unlink()
    write_out(PLAIN, selection, target, {}, True, Silent())
    assert [path.name for path in target.iterdir()] == ["rows.txt"]


@pytest.mark.parametrize(
    "names", [["a.tif", "b.tif"], ["stac", "collection.json"], ["zarr.json", "c"], ["sizes.json"], [".zgroup", "0000"]]
)
def test_a_folder_that_was_never_ours_is_not_replaced(selection, tmp_path, names):
    target = tmp_path / "photos"
    target.mkdir()
    for name in names:
        (target / name).write_text("{}")
    with pytest.raises(Fatal, match=rf"photos holds {min(names)}, which .* choose another target, or move it away"):
        write_out(format_of("corpus", {}), selection, target, {}, True, Silent())
    assert sorted(path.name for path in target.iterdir()) == sorted(names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "photos"]


def test_an_empty_folder_and_a_link_to_one_of_somebodys_own_are_replaced(selection, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "mine").write_text("mine")
    (tmp_path / "link").symlink_to(own)
    (tmp_path / "empty").mkdir()
    for name in ("link", "empty"):
        write_out(PLAIN, selection, tmp_path / name, {}, True, Silent())
        assert (tmp_path / name / "rows.txt").exists()
    assert [path.name for path in own.iterdir()] == ["mine"]


def test_what_a_killed_process_moved_aside_is_put_back(selection, tmp_path):
    target, aside = tmp_path / "out", tmp_path / ".out.old.tmp"
    aside.write_text("mine")
    with pytest.raises(Fatal, match="--overwrite"):
        write_out(PLAIN, selection, target, {}, False, Silent())
    assert target.read_text() == "mine" and not aside.exists()


def test_the_corpus_itself_is_no_target(selection, tmp_path):
    folder = tmp_path / "corpus"
    inside = [folder / name for name in ("corpus.zarr", "corpus.zarr/new", "ledger", "manifest.parquet", "new")]
    for target in (folder, tmp_path, *inside):
        with pytest.raises(Fatal, match="holds the corpus itself"):
            write_out(PLAIN, selection, target, {}, True, Silent())


@pytest.mark.parametrize("name", [".", "..", "", "/"])
def test_a_target_without_a_name_is_refused(selection, name):
    with pytest.raises(Fatal, match="is no name for what is written"):
        write_out(PLAIN, selection, Path(name), {}, True, Silent())


def test_a_target_below_a_file_is_refused(selection, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Fatal, match="cannot write .*/file/out"):
        write_out(PLAIN, selection, tmp_path / "file" / "out", {}, True, Silent())


def test_of_two_writers_of_a_target_the_second_is_refused(selection, tmp_path):
    target, said = tmp_path / "out", []

    def write(chosen, draft, options, progress):
        with pytest.raises(Fatal) as refused:
            write_out(PLAIN, chosen, target, {}, True, Silent())
        said.append(str(refused.value))
        return _write(chosen, draft, options, progress)

    write_out(Format("slow", "Row numbers", write), selection, target, {}, False, Silent())
    assert said == [f"another process is writing {target}; wait for it, or choose another target."]
    assert (target / "rows.txt").read_text() == "2 3"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "out"]


def test_an_unknown_format_is_said():
    with pytest.raises(Fatal, match="unknown format 'nonsense'"):
        format_of("nonsense", {})
    for item in formats().values():
        with pytest.raises(Fatal, match=f"unknown option of {item.name}"):
            format_of(item.name, {"no_such_option": "1"})
