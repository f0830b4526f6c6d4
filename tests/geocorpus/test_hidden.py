"""What hides one of our packages is named in one sentence, by the import and by the command."""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path

import pytest

from geocorpus.hidden import HOME, PACKAGES
from tests import rivals as names
from tests.rivals import rivals, run

IMPORT = "import geocorpus"
ELSEWHERE = "start Python in another folder or with its option -P"


def refused(words: list[str], cwd: Path, **more: str) -> str:
    """The one sentence with which Python ends, exit code 2."""
    done = run([sys.executable, *words], cwd, **more)
    assert done.returncode == 2, done
    assert done.stderr.startswith("geocorpus: ") and done.stderr.count("\n") == 1
    return done.stderr.removeprefix("geocorpus: ").rstrip("\n")


def test_the_names_are_those_of_the_tree() -> None:
    assert set(PACKAGES) == set(names.PACKAGES)
    assert all((HOME / name / "__init__.py").is_file() for name in PACKAGES)


def test_the_import_names_the_folder(tmp_path: Path) -> None:
    assert refused(["-c", IMPORT], rivals(tmp_path, "training")) == (
        f"the folder {tmp_path}/training hides the package training that geocorpus brings; "
        f"{ELSEWHERE}, or rename the folder."
    )


def test_all_that_are_hidden_are_named_in_one_sentence(tmp_path: Path) -> None:
    sentence = refused(["-c", IMPORT], rivals(tmp_path, "flows", "pipeline"))
    assert sentence == (
        f"the folder {tmp_path}/pipeline and the folder {tmp_path}/flows hide the packages pipeline and flows "
        f"that geocorpus brings; {ELSEWHERE}, or rename the folders."
    )


def test_a_module_hides_as_well(tmp_path: Path) -> None:
    (tmp_path / "sampling.py").write_text(f"{IMPORT}\n")
    assert f"the file {tmp_path}/sampling.py hides" in refused(["-c", IMPORT], tmp_path)
    assert f"the file {tmp_path}/sampling.py hides" in refused(["sampling.py"], tmp_path)


def test_folders_without_a_package_in_them_hide_no_installed_one(tmp_path: Path) -> None:
    """An editable install comes last on the path, behind plain folders; `geocorpus` sees that, too."""
    (tmp_path / "training").mkdir()
    done = run([sys.executable, "-c", IMPORT], tmp_path)
    assert done.returncode == 0 or f"the folder {tmp_path}/training hides" in done.stderr


def test_an_empty_entry_of_pythonpath_is_the_working_folder(tmp_path: Path) -> None:
    sentence = refused(["-P", "-c", IMPORT], rivals(tmp_path, "flows"), PYTHONPATH=f":{tmp_path / 'other'}")
    assert sentence.endswith(f"take {tmp_path} off PYTHONPATH, or rename the folder.")


def test_with_safe_path_nothing_is_hidden(tmp_path: Path) -> None:
    rivals(tmp_path)
    assert run([sys.executable, "-P", "-c", IMPORT], tmp_path).returncode == 0
    assert run([sys.executable, "-c", IMPORT], tmp_path, PYTHONSAFEPATH="1").returncode == 0


def test_the_module_runs_in_any_folder(tmp_path: Path) -> None:
    """As `torchrun -m geocorpus` starts it: Python puts the working folder first, and the command leaves it out."""
    done = run([sys.executable, "-u", "-m", "geocorpus", "--help"], rivals(tmp_path))
    assert done.returncode == 0 and "Rebuild the MMEarth corpus" in done.stdout, done.stderr


def test_the_module_names_what_pythonpath_hides(tmp_path: Path) -> None:
    hiding = rivals(tmp_path / "mine", "sandbox")
    assert "the package sandbox" in refused(["-m", "geocorpus", "--help"], tmp_path, PYTHONPATH=str(hiding))


def test_a_module_of_the_users_own_keeps_its_path(tmp_path: Path) -> None:
    """`python -m mine`, where `mine` imports geocorpus and a neighbour, is not for us to change."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text(f"{IMPORT}\nimport neighbour\n")
    (tmp_path / "mine" / "__main__.py").write_text("import neighbour\nprint(neighbour.WORD)\n")
    (tmp_path / "neighbour.py").write_text("WORD = 'here'\n")
    assert run([sys.executable, "-m", "mine"], tmp_path).stdout == "here\n"
    rivals(tmp_path, "flows")
    assert "the package flows" in refused(["-m", "mine"], tmp_path)


def test_who_catches_the_error_goes_on(tmp_path: Path) -> None:
    code = "try:\n    import geocorpus\nexcept ImportError as error:\n    print(error)\n"
    done = run([sys.executable, "-c", code], rivals(tmp_path, "flows"))
    assert done.returncode == 0 and "hides the package flows" in done.stdout and done.stderr == ""


def test_other_errors_are_shown_as_ever(tmp_path: Path) -> None:
    code = "try:\n    import geocorpus\nexcept ImportError:\n    pass\nraise KeyError('mine')\n"
    done = run([sys.executable, "-c", code], rivals(tmp_path, "flows"))
    assert done.returncode == 1 and "Traceback" in done.stderr and "KeyError: 'mine'" in done.stderr


def digest(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def installed(site: Path, distribution: str, files: dict[str, bytes]) -> None:
    """Put files into a folder as an installer does: over what is there, and on record."""
    for name, content in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(content)
    info = site / f"{distribution}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    record = [f"{name},{digest(content)},{len(content)}" for name, content in files.items()]
    (info / "RECORD").write_text("\n".join([*record, f"{info.name}/RECORD,,"]) + "\n")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site-packages with our first files in it, installed from a wheel."""
    folder = tmp_path / "site"
    ours = [f"{name}/__init__.py" for name in PACKAGES]
    ours += [f"geocorpus/{path.name}" for path in (HOME / "geocorpus").glob("*.py")]
    installed(folder, "geocorpus", {name: (HOME / name).read_bytes() for name in ours})
    return folder


def importing(*folders: Path) -> list[str]:
    """Python that looks into these folders first."""
    return ["-P", "-c", f"import sys; sys.path[:0] = {[str(folder) for folder in folders]}; {IMPORT}"]


def test_a_wheel_as_installed_is_found_whole(site: Path, tmp_path: Path) -> None:
    done = run([sys.executable, *importing(site)], tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_distribution_installed_over_ours_is_named(site: Path, tmp_path: Path) -> None:
    installed(site, "acme-pipelines", {"pipeline/__init__.py": b"VERSION = 3\n"})
    assert refused(importing(site), tmp_path) == (
        f"the folder {site}/pipeline of the distribution acme-pipelines hides the package pipeline that geocorpus "
        "brings; run: pip uninstall acme-pipelines, then pip install --force-reinstall --no-deps geocorpus, or use "
        "an environment of its own."
    )


def test_a_distribution_elsewhere_on_the_path_is_named(site: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    installed(other, "acme-flows", {"flows/__init__.py": b"VERSION = 3\n"})
    assert f"the folder {other}/flows of the distribution acme-flows hides" in refused(importing(other, site), tmp_path)


def test_an_installed_file_that_somebody_edits_is_theirs(site: Path, tmp_path: Path) -> None:
    (site / "pipeline" / "__init__.py").write_text("print('looking into it')\n")
    assert run([sys.executable, *importing(site)], tmp_path).returncode == 0


def test_what_an_uninstall_of_another_tore_out_is_named(site: Path, tmp_path: Path) -> None:
    (site / "pipeline" / "__init__.py").unlink()
    sentence = f"the package pipeline in {site} is not whole; run: pip install --force-reinstall --no-deps geocorpus."
    assert refused(importing(site), tmp_path) == sentence
