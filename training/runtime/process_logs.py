"""What each of several processes prints: a file for each of them, so that a person sees one sentence."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pipeline import durable
from pipeline.errors import Fatal


class ProcessLogs:
    """Files `process-1.log` and so on, of `count` processes, in `folder`; later launches add to them.

    Raises `Fatal` where the folder cannot be made.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        self._absent = durable.absent_folders(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Fatal(f"cannot write {folder}: {error.strerror}.") from error

    @property
    def paths(self) -> list[Path]:
        """The file of each process, by rank."""
        return [self.folder / f"process-{rank + 1}.log" for rank in range(self.count)]

    def where(self) -> str:
        """The end of a sentence that says where they are; empty where nothing was printed."""
        printed = any(path.exists() and path.stat().st_size for path in self.paths)
        return f"; what the processes printed is in {self.folder}" if printed else ""

    def tidy(self, refused: bool) -> None:
        """Remove empty files, and all files of a run that was `refused` before it wrote anything."""
        nothing_else = [path.name for path in self.folder.parent.iterdir()] == [self.folder.name]
        for path in self.paths:
            if path.exists() and (not path.stat().st_size or (refused and nothing_else)):
                path.unlink()
        durable.remove_empty([*self._absent, self.folder])


def print_to(path: Path) -> None:
    """Let whatever this process prints, also from C++, go to the end of the file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        if stream is not None:
            stream.flush()
        os.dup2(descriptor, number)
    os.close(descriptor)
