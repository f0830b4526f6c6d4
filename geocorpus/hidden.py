"""Whether something else has the name of one of our packages and would be imported in its place; imports nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import NoReturn

PACKAGES = ("pipeline", "sampling", "exporters", "training", "flows", "sandbox")
# Every way of installing puts all packages side by side. Links are not followed: a strict editable install is made of
# links to the files, in folders of its own.
HOME = Path(os.path.abspath(__file__)).parent.parent


class HiddenPackageError(ImportError):
    """A package of ours would be imported from somewhere else, or is not whole. Says which, and what to do."""


@dataclass(frozen=True)
class Rival:
    """What Python would import in place of one of our packages."""

    name: str
    path: Path
    distribution: str | None = None

    def __str__(self) -> str:
        owner = f" of the distribution {self.distribution}" if self.distribution else ""
        return f"the {self.kind} {self.path}{owner}"

    @property
    def kind(self) -> str:
        """What a person sees in a file browser."""
        return "folder" if self.path.is_dir() else "file"


def refuse_hidden(home: Path = HOME) -> None:
    """Raise `HiddenPackageError` unless each of our packages would be imported from `home`, where it was installed."""
    if _run_by_name():
        _leave_working_folder(home)
    result = list(rivals(home))
    if result:
        _refuse(_sentence(result))
    lost = [name for name in PACKAGES if _is_lost(name, home)]
    if lost:
        lack = "are not whole" if len(lost) > 1 else "is not whole"
        _refuse(f"the {_packages(lost)} in {home} {lack}; run: pip install --force-reinstall --no-deps geocorpus.")


def rivals(home: Path = HOME) -> Iterator[Rival]:
    """What hides packages of ours, in the order of `PACKAGES`."""
    for name in PACKAGES:
        path = _imported_from(name, home)
        if path is not None and not _same(path, home / name):
            yield Rival(name, path, _distribution_of(name, path.parent))
        elif path is not None and _was_changed(name, home):
            other = _distribution_of(name, home)
            if other:  # without one, somebody edits the installed file, as one may
                yield Rival(name, path, other)


def _is_lost(name: str, home: Path) -> bool:
    """Whether a package is gone, or lacks its first file, as when another of its name was uninstalled."""
    gutted = (home / name).is_dir() and not any((home / name).glob("__init__.*"))
    return gutted or _imported_from(name, home) is None


def _imported_from(name: str, home: Path) -> Path | None:
    """The folder of a package or the file of a module, as Python would import it, or has; None where there is none."""
    try:
        spec = find_spec(name)
    except ValueError:  # a module that somebody made by hand in this process, and means
        return home / name
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    where = folders[0] if folders else spec.origin
    return Path(os.path.abspath(where)) if where else None


def _same(one: Path, other: Path) -> bool:
    return one == other or (one.exists() and other.exists() and os.path.samefile(one, other))


def _was_changed(name: str, home: Path) -> bool:
    """Whether the first file of a package is no longer the one that was installed; False where nothing is on record."""
    path = home / name / "__init__.py"
    recorded = _recorded(f"{name}/__init__.py", home)
    return recorded is not None and path.is_file() and recorded != _digest(path.read_bytes())


def _recorded(file: str, home: Path) -> str | None:
    for record in home.glob("geocorpus-*.dist-info/RECORD"):
        for line in record.read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{file},sha256="):
                return line.split(",")[1].removeprefix("sha256=")
    return None


def _digest(content: bytes) -> str:
    """As an installer writes it."""
    import base64
    import hashlib

    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _distribution_of(name: str, folder: Path) -> str | None:
    """The installed distribution, other than ours, that brought a package or module of this name into a folder."""
    from importlib.metadata import distributions

    for distribution in distributions(path=[str(folder)]):
        tops = {file.parts[0] for file in distribution.files or () if file.suffix == ".py"}
        if distribution.name != "geocorpus" and {name, f"{name}.py"} & tops:
            return str(distribution.name)
    return None


def _sentence(found: list[Rival]) -> str:
    many = len(found) > 1
    names = [rival.name for rival in found]
    hide = "hide" if many else "hides"
    return f"{_listed(found)} {hide} the {_packages(names)} that geocorpus brings; {_advice(found)}."


def _packages(names: list[str]) -> str:
    return f"{'packages' if len(names) > 1 else 'package'} {_listed(names)}"


def _listed(things: Iterable[object]) -> str:
    *most, last = map(str, things)
    return f"{', '.join(most)} and {last}" if most else last


def _advice(found: list[Rival]) -> str:
    """What to do, for each of the reasons that there are."""
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep) if "PYTHONPATH" in os.environ else []
    on_pythonpath = {os.path.abspath(entry) for entry in named}  # an empty entry is the working folder
    brought = sorted({rival.distribution for rival in found if rival.distribution})
    others = [rival for rival in found if not rival.distribution]
    entries = sorted({str(rival.path.parent) for rival in others if str(rival.path.parent) in on_pythonpath})
    rename = f"or rename the {others[0].kind}{'s' if len(others) > 1 else ''}" if others else ""
    advice = []
    if brought:
        again = "pip install --force-reinstall --no-deps geocorpus"
        advice.append(f"run: pip uninstall {' '.join(brought)}, then {again}, or use an environment of its own")
    if entries:
        advice.append(f"take {_listed(entries)} off PYTHONPATH, {rename}")
    elif others:
        advice.append(f"start Python in another folder or with its option -P, {rename}")
    return "; ".join(advice)


def _refuse(sentence: str) -> NoReturn:
    """Raise; where nobody catches it, the person sees the sentence without a traceback, and the exit code is 2."""
    error, usual = HiddenPackageError(sentence), sys.excepthook

    def one_sentence(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        if value is not error:
            usual(kind, value, trace)
            return
        print(f"geocorpus: {sentence}", file=sys.stderr)
        sys.exit(2)

    sys.excepthook = one_sentence
    raise error


def _run_by_name() -> bool:
    """Whether this process is `python -m geocorpus`, typed or started by `torchrun`."""
    words = sys.orig_argv
    return sys.argv[:1] == ["-m"] and "-m" in words and words[words.index("-m") + 1 :][:1] == ["geocorpus"]


def _leave_working_folder(home: Path) -> None:
    """Take off the path what `-m` put there: a command reads its own files only, wherever it is typed."""
    first = Path(os.path.abspath(sys.path[0])) if sys.path else home
    if not sys.flags.safe_path and first == Path.cwd() and not _same(first, home):
        del sys.path[0]
