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
CODE = (
    "geocorpus",
    "pipeline",
    "sampling",
    "exporters",
    "training",
    "flows",
    "sandbox",
    "tests",
    "benchmarks",
    "examples",
    "docs",
)
# Sections that their own package checks, and those whose keys are the names of layers.
FREE = {"pretrain", "finetune", "layers"}
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
        if not hasattr(result, "commands") or word.startswith("--"):
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


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"], ids=lambda page: page.name
)
def test_files_of_the_code_exist(page: Path) -> None:
    """A file that a page names between backquotes, by its path or by its name alone, is there."""
    there = [path.relative_to(ROOT).as_posix() for name in CODE for path in (ROOT / name).rglob("*.py")]
    named = set(re.findall(r"`([\w/-]+\.py)`", page.read_text()))
    lost = {name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in there)}
    assert not lost, f"{page.name}: {lost}"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_lists_and_tables_stand_apart(page: Path) -> None:
    """The code host takes a list right behind a paragraph for one, the site for more of the paragraph."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    joined = re.findall(r"^(?![ |#-]|\d+\. |<!--)\S.*\n(?:- |\d+\. |\|).*", text, re.MULTILINE)
    assert not joined, joined


def test_the_configuration_of_the_page_on_scale_is_one() -> None:
    page = (ROOT / "docs" / "running-at-scale.md").read_text()
    shown = re.search(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert shown and parse(tomllib.loads(shown[1])).sampling.locations == 1_200_000
