"""Thousands of command lines and hundreds of damaged files: none ends in a traceback, none claims to have done what it
has not, and none of our own files is believed when it is damaged."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
import pytest
from command_lines import INSTEAD, SMALLEST, CommandLines, Line, commands, quoted
from damage import GROUPS, Case, Cases, Reader, damages_of, do_damage, results
from forkserver import ROOT, TOO_MANY, Reply
from verdict import crashes, faults, innards, sentence_faults
from world import ENVIRONMENT, World, contents

LINES, MANY_LINES = 100, 3000
DAMAGES, MANY_DAMAGES = 25, 300
SHOWN = 3
"""Of what shows a fault."""


def test_every_command_can_be_tried() -> None:
    """The walk sees the tree, and what is said of commands and parameters names some that exist."""
    known = dict(commands())
    assert {"train", "eval", "doctor policy", "cache clear"} <= known.keys()
    assert SMALLEST.keys() <= known.keys()
    for name, values in [*SMALLEST.items(), *((key.rpartition(" ")[0], values) for key, values in INSTEAD.items())]:
        assert values.keys() <= {parameter.name for parameter in known[name].params}
    for name in INSTEAD:
        command, _, flag = name.rpartition(" ")
        assert any(flag in parameter.opts for parameter in known[command].params)


def test_a_new_command_signs_itself_up() -> None:
    @click.group()
    def group() -> None: ...

    @group.command()
    def new() -> None: ...

    assert [path for path, _ in commands(group)] == ["new"]


def test_each_damage_changes_the_file(tmp_path: Path) -> None:
    """In most draws, and nothing is left beside it."""
    for name in ("a.jsonl", "a.yaml", "a.png"):
        for damage in damages_of(name):
            changed = 0
            for number in range(20):
                folder = tmp_path / f"{name}-{damage.replace('/', '')}-{number}"
                folder.mkdir()
                path = folder / name
                path.write_text(
                    '{"a": [1, 2.5], "b": "c"}\n{"a": [3], "b": 4}\n' if name == "a.jsonl" else "a: {b: 1}\n"
                )
                before = path.read_bytes()
                do_damage(path, damage, random.Random(number))
                changed += not path.is_file() or path.read_bytes() != before
                assert {each.name for each in folder.iterdir()} <= {name}
            assert changed > 10, (name, damage)


def test_nothing_is_written_out_of_the_world(tmp_path: Path) -> None:
    """A superuser could."""
    for name in ("hostile/a.yaml", "plugins/a.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("")
    supply = CommandLines(0, tmp_path)
    (out,) = (parameter for parameter in dict(commands())["train"].params if parameter.name == "out")
    drawn = {supply._hostile(out) for _ in range(3000)}
    assert "a\nb" in drawn and not any(each.startswith("/") for each in drawn)


def _seen(code: int, stderr: str, *words: str, **values: Sequence[str]) -> list[str]:
    line = Line(words[0], words, {name: list(each) for name, each in values.items()})
    return list(faults(line, Reply(code, 0.1, b"", stderr.encode()), {}, {"runs/eval/card.json": (1, 1)}))


def test_a_share_of_the_batches_may_be_empty() -> None:
    said = "evaluation: runs/eval (0 of 17 pictures are there)\n"
    for share, batch, is_empty in (("2/2", "17", True), ("2/2", "16", False), ("3/3", "9", True), ("1/2", "99", False)):
        seen = _seen(0, said, "eval", shard=[share], batch_size=[batch])
        assert seen == ([] if is_empty else ["exit code 0, and no picture was made"]), (share, batch)
    assert _seen(0, said, "eval", shard=["3/3"]) == []
    assert _seen(0, said, "eval") == ["exit code 0, and no picture was made"]


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (("--processes", "1_0"), True),
        (("--processes=10",), True),
        (("--processes", "4"), False),
        (("--processes", "x"), False),
        ((), False),
    ],
)
def test_many_processes_are_a_fault_only_where_nobody_asked_for_them(words: tuple[str, ...], asked: bool) -> None:
    assert _seen(TOO_MANY, "", "train", *words) == ([] if asked else ["starts processes without end"])


@pytest.mark.slow
def test_a_fork_is_a_process_of_its_own(world: World) -> None:
    """The same exit code and the same words as a new interpreter's."""
    for words in (("list", "nothing"), ("list", "recipes")):
        reply = world.run(*words)
        done = subprocess.run(
            [sys.executable, "-m", "flowbench", *words],
            capture_output=True,
            check=False,
            cwd=world.box,
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        )
        assert (reply.code, reply.stdout, reply.stderr) == (done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
def test_the_same_seed_draws_the_same(world: World, seed: int) -> None:
    turn = sum(len(command.params) for _, command in commands())
    for supply, number in ((CommandLines, 2 * turn), (Cases, 2 * len(GROUPS))):
        drawn, again, other = (
            list(itertools.islice(supply(each, world.template), number)) for each in (seed, seed, seed + 1)
        )
        assert drawn == again != other


@pytest.mark.slow
def test_a_renewed_world_is_clean(world: World) -> None:
    (world.box / "prompts.txt").unlink()
    (world.box / "prompts.txt").mkdir()
    (world.box / "prompts.txt" / "new").write_text("new")
    (world.box / "table.csv").write_text("changed")
    (world.box / "hostile" / "loop").unlink()
    world.renew()
    assert contents(world.box).keys() == world.clean.keys()
    assert (world.box / "table.csv").read_bytes() == (world.template / "table.csv").read_bytes()


@pytest.mark.slow
def test_command_lines(world: World, seed: int) -> None:
    try_lines(world, seed, LINES)


@pytest.mark.fuzz
def test_many_command_lines(world: World, seed: int) -> None:
    try_lines(world, seed, MANY_LINES)


@pytest.mark.slow
def test_damaged_files(world: World, seed: int) -> None:
    try_damages(world, seed, DAMAGES)


@pytest.mark.fuzz
def test_many_damaged_files(world: World, seed: int) -> None:
    try_damages(world, seed, MANY_DAMAGES)


def try_lines(world: World, seed: int, number: int) -> None:
    """Run that many command lines; fail with the faults, the lines that show them, and the seed."""
    found = defaultdict(list)
    for line in itertools.islice(CommandLines(seed, world.template), number):
        world.renew()
        reply = world.run(*line.words, interrupt=line.interrupt)
        for fault in faults(line, reply, world.clean, contents(world.box)):
            found[fault].append(str(line))
    fail_with(found, world, seed)


def try_damages(world: World, seed: int, number: int) -> None:
    """Do that much damage, and let it be read; fail with the faults, what shows them, and the seed."""
    judge, found = Judge(world), defaultdict(list)
    for case in itertools.islice(Cases(seed, world.template), number):
        for reader in case.readers:
            for fault in judge.faults(case, reader):
                found[fault].append(f"{case}; then flowbench {' '.join(map(quoted, reader.words))}")
    fail_with(found, world, seed)


def fail_with(found: Mapping[str, Sequence[str]], world: World, seed: int) -> None:
    told = [f"seed {seed}; each in a copy of {world.template}"]
    for fault, shown in sorted(found.items(), key=lambda item: -len(item[1])):
        told += [f"{fault} ({len(shown)})", *(f"    {each}" for each in shown[:SHOWN])]
    if found:
        pytest.fail("\n".join(told), pytrace=False)


class Judge:
    """Knows what each reader comes to when nothing is damaged."""

    def __init__(self, world: World):
        self.world = world
        self._undamaged: dict[Reader, tuple[Reply, dict[str, bytes]]] = {}

    def faults(self, case: Case, reader: Reader) -> Iterator[str]:
        self.world.renew()
        case.apply(self.world.box)
        reply = self.world.run(*reader.words)
        stderr = reply.stderr.decode("utf-8", "backslashreplace")
        yield from crashes(reply, stderr)
        if reply.code == 2:
            yield from sentence_faults(stderr)
            yield from innards(stderr)
        if case.ours and reply.code == 0:
            made = results(self.world.box, reader)
            whole, made_from_whole = self.undamaged(reader)
            silent = set(stderr.splitlines()) <= set(whole.stderr.decode().splitlines())
            if silent and (reply.stdout, made) != (whole.stdout, made_from_whole):
                what = "results" if reply.stdout == whole.stdout else "words"
                yield f"{Path(case.path).name} is believed: other {what}"

    def undamaged(self, reader: Reader) -> tuple[Reply, dict[str, bytes]]:
        """What the reader says and writes when nothing is damaged."""
        if reader not in self._undamaged:
            self.world.renew()
            reply = self.world.run(*reader.words)
            assert reply.code == 0, (reader, reply)
            self._undamaged[reader] = reply, results(self.world.box, reader)
        return self._undamaged[reader]
