"""Checkpoints: whole or absent, bound to a configuration and a corpus; a run resumes from the newest whole one."""

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
from training.config import BEFORE, WITHOUT_EFFECT, PretrainConfig

CHECKPOINTS = "checkpoints"  # The folder of a run that holds them.
_PATTERN = "step-*.pt"
_MOST_SHOWN = 200  # characters of a setting, which may be a list of thousands


@dataclass(frozen=True)
class Checkpoints:
    """Files `folder/step-00000050.pt` for `torch.load`, each with a `.json` beside it that describes it, written last.

    `identity` is {"config": JSON values, "corpus": digest, ...}: the run to which the states belong. The `kept` newest
    are kept, and those whose step is a multiple of `keep_every` (0: none).
    """

    folder: Path
    identity: Mapping[str, Any]
    kept: int = 2
    keep_every: int = 0

    def path(self, step: int) -> Path:
        """The path of the state after `step` steps."""
        return self.folder / f"step-{step:08d}.pt"

    def save(self, step: int, state: Mapping[str, Any], position: Mapping[str, int] | None = None) -> Path:
        """Write the state after `step` steps, then delete those that are not kept; returns the path.

        `position` is information only: a run computes its position from the step.
        """
        durable.sweep(self.folder)  # Temporary files of a killed process; only one process of a run saves.
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        path = self.path(step)
        durable.write_bytes(path, buffer.getvalue())
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        description = {"step": step, "position": dict(position or {}), "sha256": digest, **self.identity}
        durable.write_json(path.with_suffix(".json"), description)
        for old in complete(self.folder)[: -self.kept]:
            if not self.keep_every or step_of(old) % self.keep_every:
                old.with_suffix(".json").unlink(missing_ok=True)
                old.unlink(missing_ok=True)
        return path

    def latest(self) -> tuple[Path | None, tuple[Path, ...]]:
        """The newest checkpoint that is whole (None where there is no checkpoint), and newer ones, which are damaged.

        Raises `Fatal` when it belongs to another configuration or corpus, or when all are damaged: the user decides
        whether to start again.
        """
        damaged: list[Path] = []
        for path in reversed(complete(self.folder)):
            if _is_whole(path):
                self._refuse_other(path, describe(path))
                return path, tuple(damaged)
            damaged.append(path)
        if damaged:
            raise Fatal(f"every checkpoint in {self.folder} is damaged; put one back, or delete them to begin anew.")
        return None, ()

    def _refuse_other(self, path: Path, description: Mapping[str, Any]) -> None:
        current, stored = self.identity["config"], description["config"]
        # A setting that is newer than the checkpoint had its present default, or what `BEFORE` has.
        stored = {**PretrainConfig().every_setting(), **BEFORE, **stored}
        current = PretrainConfig().every_setting() | current
        stored["options"], current["options"] = _set_ones(stored["options"]), _set_ones(current["options"])
        changed = [name for name in current if name not in WITHOUT_EFFECT and current[name] != stored[name]]
        if changed:
            first = changed[0]
            others = f" (and with another {', '.join(changed[1:])})" if changed[1:] else ""
            raise Fatal(
                f"the run in {self.folder.parent} was begun with pretrain.{first} = {_short(stored[first])}, not "
                f"{_short(current[first])}{others}; give the new run a name with pretrain.run=NAME, or put that back."
            )
        if description["corpus"] != self.identity["corpus"]:
            raise Fatal(
                f"checkpoint {path} was made from another corpus, or before it grew; "
                "give the new run a name with pretrain.run=NAME."
            )


def _set_ones(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options without empty tables, which are those of a run that is older than the option."""
    return {name: value for name, value in options.items() if value != {}}


def _short(value: object) -> str:
    """The value as text for a sentence; a long list is cut."""
    text = f"{value!r}"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def complete(folder: Path) -> list[Path]:
    """The checkpoints in `folder` that were written completely, oldest first."""
    return [path for path in sorted(folder.glob(_PATTERN)) if path.with_suffix(".json").exists()]


def step_of(path: Path) -> int:
    """The number of steps before the state in a checkpoint."""
    return int(path.stem.removeprefix("step-"))


def _is_whole(path: Path) -> bool:
    try:
        _verified(path)
    except Fatal:
        return False
    return True


def describe(path: Path) -> dict[str, Any]:
    """The description of a checkpoint: step, digest, config, corpus, layers, inputs. Raises `Fatal` if damaged."""
    description = durable.read_json(path.with_suffix(".json"))
    if not isinstance(description, dict) or not {"step", "sha256", "config", "corpus"} <= description.keys():
        raise _damaged(path)
    return description


def read(path: Path) -> dict[str, Any]:
    """The saved state, on the CPU. Raises `Fatal` with the path when the file is absent or damaged."""
    state: dict[str, Any] = torch.load(io.BytesIO(_verified(path)), map_location="cpu", weights_only=True)
    return state


def _verified(path: Path) -> bytes:
    expected = describe(path)["sha256"]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Fatal(f"cannot read checkpoint {path}: {error.strerror}.") from error
    if hashlib.sha256(content).hexdigest() != expected:
        raise _damaged(path)
    return content


def _damaged(path: Path) -> Fatal:
    return Fatal(f"checkpoint {path} is damaged; use another.")
