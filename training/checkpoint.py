"""Checkpoints: whole or absent, bound to their configuration and corpus, the newest one is where a run goes on."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline import durable
from pipeline.errors import Fatal
from training.config import WITHOUT_EFFECT

_PATTERN = "step-*.pt"


@dataclass(frozen=True)
class Checkpoints:
    """`folder/step-00000050.pt` with what `torch.load` reads, and a `.json` beside it, written last, that names it.

    `identity` is {"config": plain, "corpus": digest, ...}: what the states belong to.
    """

    folder: Path
    identity: Mapping[str, Any]
    kept: int = 2

    def path(self, step: int) -> Path:
        """Where the state after `step` steps is kept."""
        return self.folder / f"step-{step:08d}.pt"

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Publish the state after `step` steps, then forget all but the `kept` newest."""
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        path = self.path(step)
        durable.write_bytes(path, buffer.getvalue())
        description = {"step": step, "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(), **self.identity}
        durable.write_json(path.with_suffix(".json"), description)
        for old in self._complete()[: -self.kept]:
            old.with_suffix(".json").unlink(missing_ok=True)
            old.unlink(missing_ok=True)
        return path

    def _complete(self) -> list[Path]:
        return [path for path in sorted(self.folder.glob(_PATTERN)) if path.with_suffix(".json").exists()]

    def latest(self) -> Path | None:
        """The newest complete checkpoint, if there is one."""
        found = self._complete()
        return found[-1] if found else None

    def load_latest(self) -> tuple[int, dict[str, Any]] | None:
        """The newest state and the number of steps it has seen, or None to begin from the start.

        Raises `Fatal` when it is damaged, or belongs to another configuration or corpus.
        """
        path = self.latest()
        if path is None:
            return None
        description = describe(path)
        self._refuse_other(path, description)
        return int(description["step"]), read(path)

    def _refuse_other(self, path: Path, description: Mapping[str, Any]) -> None:
        mine, theirs = self.identity["config"], description["config"]
        changed = [name for name in mine if name not in WITHOUT_EFFECT and mine[name] != theirs.get(name)]
        if changed:
            raise Fatal(
                f"checkpoint {path} was made with another {', '.join(changed)}; "
                "use another run folder, or put the configuration back."
            )
        if description["corpus"] != self.identity["corpus"]:
            raise Fatal(f"checkpoint {path} was made from another corpus, or before it grew; use another run folder.")


def describe(path: Path) -> dict[str, Any]:
    """What is written beside a checkpoint: step, digest, config, corpus, versions, layers; `Fatal` if damaged."""
    description = durable.read_json(path.with_suffix(".json"))
    if not isinstance(description, dict) or not {"step", "sha256", "config", "corpus"} <= description.keys():
        raise _damaged(path)
    return description


def read(path: Path) -> dict[str, Any]:
    """The state that was saved, on the CPU; raises `Fatal` naming the file when it is absent or damaged."""
    expected = describe(path)["sha256"]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Fatal(f"cannot read checkpoint {path}: {error.strerror}.") from error
    if hashlib.sha256(content).hexdigest() != expected:
        raise _damaged(path)
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state


def _damaged(path: Path) -> Fatal:
    return Fatal(f"checkpoint {path} is damaged; delete it, and the run goes on from the one before.")
