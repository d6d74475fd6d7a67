"""Thousands of command lines: none ends in a traceback, none claims to have done what it has not."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import defaultdict

import click
import pytest
from command_lines import SMALLEST, CommandLines, Line, commands
from forkserver import ROOT
from verdict import faults
from world import ENVIRONMENT, World, contents

SHORT, LONG = 150, 3000
SHOWN = 3
"""Command lines shown of each fault."""


def test_every_command_can_be_tried() -> None:
    """The walk sees the tree, and what is said of commands and parameters names some that exist."""
    known = dict(commands())
    assert {"train", "eval", "doctor policy", "cache clear"} <= known.keys()
    assert SMALLEST.keys() <= known.keys()
    for name, values in SMALLEST.items():
        assert values.keys() <= {parameter.name for parameter in known[name].params}


def test_each_parameter_has_its_turn(world: World, seed: int) -> None:
    parameters = sum(len(command.params) for _, command in commands())
    drawn = list(itertools.islice(CommandLines(seed, world.template), parameters))
    assert {line.command for line in drawn} == {path for path, command in commands() if command.params}
    assert drawn == list(itertools.islice(CommandLines(seed, world.template), parameters))
    assert drawn != list(itertools.islice(CommandLines(seed + 1, world.template), parameters))


def test_a_fork_is_a_process_of_its_own(world: World) -> None:
    """The same exit code and the same words as a new interpreter's."""
    for words in (("list", "nothing"), ("score", "table.csv"), ("list", "recipes")):
        reply = world.run(*words)
        done = subprocess.run(
            [sys.executable, "-m", "flowbench", *words],
            capture_output=True,
            check=False,
            cwd=world.box,
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        )
        assert (reply.code, reply.stdout, reply.stderr) == (done.returncode, done.stdout, done.stderr)


def test_command_lines(world: World, seed: int) -> None:
    try_lines(world, seed, SHORT)


@pytest.mark.fuzz
def test_many_command_lines(world: World, seed: int) -> None:
    try_lines(world, seed, LONG)


def try_lines(world: World, seed: int, number: int) -> None:
    """Run that many command lines; fail with the faults, the lines that show them, and the seed."""
    found: dict[str, list[Line]] = defaultdict(list)
    for line in itertools.islice(CommandLines(seed, world.template), number):
        world.renew()
        reply = world.run(*line.words, interrupt=line.interrupt)
        for fault in faults(line, reply, world.clean, contents(world.box)):
            found[fault].append(line)
    told = [f"{fault} ({len(lines)})\n" + "".join(f"    {line}\n" for line in lines[:SHOWN])
            for fault, lines in sorted(found.items(), key=lambda item: -len(item[1]))]  # fmt: skip
    if told:
        pytest.fail(f"seed {seed}; each line runs in a copy of {world.template}\n" + "\n".join(told), pytrace=False)


def test_a_new_command_signs_itself_up() -> None:
    @click.group()
    def group() -> None: ...

    @group.command()
    @click.option("--strange")
    def new(strange: str) -> None: ...

    assert [path for path, _ in commands(group)] == ["new"]
