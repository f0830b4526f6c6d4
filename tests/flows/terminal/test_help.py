"""Help lists the commands in the order in which a person needs them."""

from __future__ import annotations

import typer
from typer.core import TyperGroup

from flows.terminal.cli import app


def test_the_stages_come_in_their_order_and_no_command_is_lost() -> None:
    command = typer.main.get_command(app)
    assert isinstance(command, TyperGroup)
    with command.make_context("geocorpus", ["--help"], resilient_parsing=True) as context:
        names = command.list_commands(context)
    assert names[:6] == ["demo", "build", "sample", "anchor", "export", "finalize"]
    assert sorted(names) == sorted(command.commands)
