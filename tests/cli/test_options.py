"""Every option of every command: what is no number, or one that nobody means, is refused where it is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from flowbench.cli import main

ABSURD = ("nan", "inf", "-inf", "1e308", str(10**30), str(-(10**30)), "-1", "1" * 5000, "x", "")


def parameters(command: click.Command, name: str) -> Iterator[tuple[str, click.Parameter]]:
    """("eval --steps", it) of each command below the group."""
    if isinstance(command, click.Group):
        for each in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), each)
            assert inner is not None
            yield from parameters(inner, f"{name} {each}".strip())
    else:
        for parameter in command.params:
            yield f"{name} {parameter.opts[-1]}", parameter


EVERY = dict(parameters(main, ""))
NUMBERS = {
    name: each
    for name, each in EVERY.items()
    if isinstance(each.type, (click.types.IntParamType, click.types.FloatParamType))
}


def test_the_walk_sees_the_options() -> None:
    assert {"eval --timeout", "train --processes", "leakage --least", "cache clear --older-than"} < NUMBERS.keys()
    assert len(EVERY) > 100


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_two_ends_and_is_finite(name: str) -> None:
    kind = NUMBERS[name].type
    assert isinstance(kind, (click.IntRange, click.FloatRange)), "a number without bounds"
    assert kind.min is not None and kind.max is not None and math.isfinite(kind.max)
    for value in ABSURD:
        with pytest.raises(click.BadParameter):
            kind.convert(value, NUMBERS[name], None)


def test_a_share_is_two_numbers_within_reason() -> None:
    kind = EVERY["eval --shard"].type
    for value in ("0/4", "5/4", "1/" + "9" * 5000, "1/0", "a/b", "1", "-1/4", "1/4/2", "\u0661/4", "1/200000"):
        with pytest.raises(click.BadParameter):
            kind.convert(value, None, None)
    assert kind.convert("1/4", None, None).count == 4


@pytest.mark.parametrize("command", ["train", "eval"])
def test_more_processes_than_a_machine_can_run_are_not_started(
    command: str, world: Any, flowbench: Callable[..., Any], monkeypatch: Any, tmp_path: Path
) -> None:
    from flowbench.cli import machine

    monkeypatch.setattr(machine, "cores", lambda: 2)
    words = {
        "train": ("--model", world.model, "--out", tmp_path / "run"),
        "eval": ("--ckpt", world.model, "--suite", "shapes", "--out", tmp_path / "run"),
    }[command]
    refused = flowbench(command, *words, "--processes", "17")
    assert refused.exit_code == 2
    assert "17 processes are too many for the 2 cores that this one may use: at most 16 (8 a core)" in refused.stderr
    assert "is not in the range" in flowbench(command, *words, "--processes", "1000").stderr
    assert not (tmp_path / "run").exists()
