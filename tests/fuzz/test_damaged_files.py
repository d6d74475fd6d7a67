"""Hundreds of damaged files: none ends in a traceback, and none of ours is believed."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_lines import quoted
from damage import GROUPS, Case, Cases, Reader, damages_of, do_damage, results
from forkserver import Reply
from verdict import crashes, sentence_faults
from world import World

SHORT, LONG = 40, 300
SHOWN = 3
"""Damages shown of each fault."""


def test_each_damage_changes_the_file(tmp_path: Path) -> None:
    """But one that is drawn to leave it as it was; none leaves anything beside it."""
    path = tmp_path / "a.jsonl"
    for damage in damages_of(path.name):
        changed = set()
        for number in range(20):
            path.write_text('{"a": [1, 2.5], "b": "c"}\n{"a": [3], "b": null}\n')
            before = path.read_bytes()
            do_damage(path, damage, random.Random(number))
            changed.add(not path.is_file() or path.read_bytes() != before)
            assert len(list(tmp_path.iterdir())) <= 1
            if path.is_dir():
                (path / "x").unlink()
                path.rmdir()
            path.unlink(missing_ok=True)
        assert True in changed, damage


def test_the_same_seed_does_the_same_damage(world: World, seed: int) -> None:
    drawn = list(itertools.islice(Cases(seed, world.template), 2 * len(GROUPS)))
    assert drawn == list(itertools.islice(Cases(seed, world.template), 2 * len(GROUPS)))
    assert {case.ours for case in drawn} == {True, False}


def test_damaged_files(world: World, seed: int) -> None:
    try_damages(world, seed, SHORT)


@pytest.mark.fuzz
def test_many_damaged_files(world: World, seed: int) -> None:
    try_damages(world, seed, LONG)


def try_damages(world: World, seed: int, number: int) -> None:
    """Do that much damage; fail with the faults, what shows them, and the seed."""
    judge, found = Judge(world), defaultdict(list)
    for case in itertools.islice(Cases(seed, world.template), number):
        for reader in case.readers:
            for fault in judge.faults(case, reader):
                found[fault].append(f"{case}; then flowbench {' '.join(map(quoted, reader.words))}")
    told = [f"{fault} ({len(shown)})\n" + "".join(f"    {each}\n" for each in shown[:SHOWN])
            for fault, shown in sorted(found.items(), key=lambda item: -len(item[1]))]  # fmt: skip
    if told:
        pytest.fail(f"seed {seed}; each in a copy of {world.template}\n" + "\n".join(told), pytrace=False)


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
