"""What the documentation tells a person to type exists: commands, options and settings."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from flows.settings import Settings, parse
from flows.terminal.cli import app
from training.config import PretrainConfig

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FREE = {"pretrain", "finetune"}  # sections that their own package checks
PRETRAIN = {"run", "preset", *(field.name for field in fields(PretrainConfig))}


def typed(page: Path) -> list[list[str]]:
    """The words of every `geocorpus ...` line: in shell blocks, and between backquotes."""
    text = page.read_text()
    quoted = re.findall(r"`geocorpus ([^`]+)`", text)
    shown = re.findall(r"^\s*(?:\S*/bin/|srun )?geocorpus (.+)$", text, re.MULTILINE)
    return [re.sub(r"\s+#.*|\s{3,}.*", "", item).split() for item in quoted + shown]


def command_of(words: list[str]) -> typer.core.TyperCommand | None:
    result = typer.main.get_command(app)
    for word in words:
        if not hasattr(result, "commands"):
            return result
        if word not in result.commands:
            return None
        result = result.commands[word]
    return result


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    for words in typed(page):
        command = command_of(words)
        assert command is not None, f"{page.name}: geocorpus {' '.join(words)}"
        known = {option for parameter in command.params for option in parameter.opts}
        unknown = {word.partition("=")[0] for word in words if word.startswith("--")} - known
        assert not unknown, f"{page.name}: geocorpus {' '.join(words)} has no {unknown}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_exist(page: Path) -> None:
    for section, key in set(re.findall(r"\b([a-z]+)\.([a-z_]+)=", page.read_text())):
        if section in Settings.model_fields and section not in FREE:
            assert key in type(getattr(Settings(), section)).model_fields, f"{page.name}: {section}.{key}"
        elif section == "pretrain":
            assert key in PRETRAIN, f"{page.name}: {section}.{key}"


def test_the_configuration_of_the_page_on_scale_is_one() -> None:
    page = (ROOT / "docs" / "running-at-scale.md").read_text()
    shown = re.search(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert shown and parse(tomllib.loads(shown[1])).sampling.locations == 1_200_000
