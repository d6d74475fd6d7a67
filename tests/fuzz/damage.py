"""Damaged files: every kind of file that a command reads, damaged as by disks, kills and people, and who reads it.

What is ours (runs, evaluations) is believed only when it is whole: a command that ends well, without a word, must have
come to what it comes to undamaged. What is the user's own (tables, prompts, pictures) may say something else now.
"""

from __future__ import annotations

import copy
import fnmatch
import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from hostile import picture, png
from world import EVAL

WRONG: Sequence[Any] = (
    None, True, [], {}, "", "a", -1, 0, 1.5, 1e308, 10**40, [[]], {"a": None}, "\ud800", "[/]\x1b[31m", "../up",
    ["a"] * 3, "2020-01-01", "0" * 64,
)  # fmt: skip
"""In the place of a value."""
INVALID_NUMBERS = ("NaN", "1e999", "-Infinity", "1" * 5000, "[" * 100_000)
"""In the place of a value, as text: JSON that Python writes or reads, and others do not."""


@dataclass(frozen=True)
class Reader:
    """A command that reads the files of a group."""

    words: tuple[str, ...]
    results: str = ""
    """Glob of files that it must have written as ever."""


_FEW = ("--out", "new")
RESUME = Reader(("train", "--resume", "run", "--steps", "3"), "run/checkpoints/step-000003/*.safetensors")
EVAL_RUN = Reader((*EVAL, "--ckpt", "run", *_FEW), "new/eval/*/images/*.png")
AGAIN = Reader((*EVAL, "--ckpt", "run"), "run/eval/*/images/*.png")
OTHERS_SCORES = Reader(("eval", "--ckpt", "run/eval/SHAPES", "--metric", "saturation"))
REPORT, GALLERY = Reader(("report", "run")), Reader(("report", "run", "--against", "base", "--allow-mismatch"))
COMPARE = Reader(("compare", "run", "base", "--format", "json"))
BOARD = Reader(("leaderboard", "run", "base", "--format", "json"))
INDEX = Reader(("list", "recipes", "--plugin", "index_page.py"))  # a page of what is there: less, where it is damaged
JSONL = Reader(("export", "run", "--format", "jsonl", *_FEW), "new")
GENEVAL = Reader(("export", "run", "--format", "geneval", *_FEW), "new/**/*")
CARD = Reader(("export", "run", "--format", "model-card", *_FEW))
LEAKAGE = Reader(("leakage", "run", "prompts.jsonl", "--format", "json"))


def _score(source: str, *more: str) -> Reader:
    return Reader(("score", source, "--format", "json", "--reward", "jpeg", "--max-error-rate", "1", *_FEW, *more))


def _prompts(name: str) -> tuple[Reader, ...]:
    return (
        _score("pictures", "--prompts", name),
        Reader(("leakage", name, "prompts.txt")),
        Reader(("eval", "--ckpt", "tiny", "--suite", "shapes", "--prompts", name, "--metric", "jpeg", "--limit", "1",
                "--images-per-prompt", "1", "--steps", "1", *_FEW)),
    )  # fmt: skip


@dataclass(frozen=True)
class Group:
    """Files (a pattern of paths), who reads them, and whether they are ours."""

    pattern: str
    readers: tuple[Reader, ...]
    ours: bool = True


GROUPS = (
    Group("run/config.yaml", (RESUME, EVAL_RUN, REPORT, LEAKAGE, INDEX)),
    Group("run/card.json", (RESUME, EVAL_RUN, REPORT)),
    Group("run/log.jsonl", (RESUME, REPORT)),
    Group("run/checkpoints/latest", (RESUME, EVAL_RUN, REPORT)),
    Group("run/checkpoints/step-000002/*", (RESUME, EVAL_RUN)),
    Group("run/samples/*", (REPORT, RESUME)),
    Group("run/eval/*/card.json", (AGAIN, OTHERS_SCORES, COMPARE, BOARD, REPORT, GALLERY, GENEVAL, INDEX)),
    Group("run/eval/*/summary.json", (AGAIN, OTHERS_SCORES, COMPARE, BOARD, REPORT, JSONL, CARD, INDEX)),
    Group("run/eval/*/records.jsonl", (AGAIN, OTHERS_SCORES, COMPARE, BOARD, REPORT, GALLERY, JSONL, GENEVAL)),
    Group("run/eval/*/results.jsonl", (AGAIN, REPORT)),
    Group("run/eval/*/scores/*", (AGAIN, OTHERS_SCORES)),
    Group("run/eval/*/images/*", (AGAIN, OTHERS_SCORES, REPORT, GALLERY, GENEVAL)),
    Group("base/eval/*/*.json*", (COMPARE, BOARD, GALLERY)),
    Group("adapter/*", (Reader((*EVAL, "--ckpt", "adapter", *_FEW)),), ours=False),
    Group("tiny/*", (Reader((*EVAL, "--ckpt", "tiny", *_FEW)),), ours=False),
    Group("cache/scores.sqlite*", (
        Reader(("cache", "stats")), Reader(("cache", "clear")),
        Reader(("score", "table.csv", "--plugin", "plugins/good.py", "--reward", "good", *_FEW)),
    ), ours=False),
    Group("cache/assets/*", (
        Reader(("assets", "list")), Reader(("assets", "verify")), Reader(("assets", "verify", "prompts-dpg")),
        Reader(("assets", "path", "prompts-dpg")), Reader(("assets", "pull", "prompts-dpg")),
        Reader(("leakage", "dpg:test", "prompts.txt")),
    ), ours=False),
    Group("exported/.flowbench-export.json", (
        Reader(("export", "run", "--format", "geneval", "--out", "exported", "--overwrite")),), ours=False),
    Group("exported/*.jsonl", (_score("exported"),), ours=False),
    Group("table.csv", (_score("table.csv"),), ours=False),
    Group("table.jsonl", (_score("table.jsonl"),), ours=False),
    Group("pictures/*", (_score("table.csv"), _score("pictures", "--prompts", "prompts.txt")), ours=False),
    Group("with_metadata/*", (_score("with_metadata"),), ours=False),
    Group("in_geneval_layout/*", (_score("in_geneval_layout"),), ours=False),
    *(Group(f"prompts.{end}", _prompts(f"prompts.{end}"), ours=False) for end in ("txt", "csv", "tsv", "jsonl")),
    Group("suite.yaml", (Reader(("eval", "--ckpt", "tiny", "--suite", "suite.yaml", "--limit", "1", *_FEW)),),
          ours=False),
    Group("recipe.yaml", (Reader(("train", "recipe.yaml", "--print-config")),), ours=False),
    Group("published.yaml", (Reader(("leaderboard", "run", "--published", "published.yaml")),), ours=False),
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One damage: which file, what is done to it, who reads it then."""

    path: str
    damage: str
    readers: tuple[Reader, ...]
    ours: bool
    seed: str
    """Of what the damage draws."""

    def apply(self, root: Path) -> None:
        do_damage(root / self.path, self.damage, random.Random(self.seed))

    def __str__(self) -> str:
        return f"{self.path}: {self.damage}"


class Cases:
    """An endless supply, the same for the same seed and the same world."""

    def __init__(self, seed: int, world: Path):
        self._seed = seed
        files = sorted(path.relative_to(world).as_posix() for path in world.rglob("*") if path.is_file())
        self._files = [(group, fnmatch.filter(files, group.pattern)) for group in GROUPS]
        for group, found in self._files:
            assert found, f"no file is {group.pattern}"
        (self._evaluation,) = {path.split("/")[2] for path in files if path.startswith("run/eval/")}

    def __iter__(self) -> Iterator[Case]:
        draw, number = random.Random(f"damage {self._seed}"), 0
        while True:
            turn = list(self._files)
            draw.shuffle(turn)
            for group, files in turn:
                path, number = draw.choice(files), number + 1
                readers = draw.sample(group.readers, k=min(len(group.readers), draw.choice((1, 1, 2))))
                damage = draw.choice(list(damages_of(path)))
                yield Case(path, damage, tuple(map(self._named, readers)), group.ours, f"{self._seed} {number}")

    def _named(self, reader: Reader) -> Reader:
        """With the evaluation's folder, which has a hash in its name."""
        return replace(reader, words=tuple(word.replace("SHAPES", self._evaluation) for word in reader.words))


def damages_of(path: str) -> dict[str, Callable[[bytes, random.Random], bytes]]:
    """What can become of a file of that name, by what it is called."""
    if path.endswith((".json", ".jsonl")):
        return {**_OF_BYTES, **_OF_JSON}
    if path.endswith(".png"):
        return {**_OF_BYTES, "another picture": lambda data, draw: png(picture(draw.randrange(4, 99)))}
    return {**_OF_BYTES, **_OF_YAML} if path.endswith(".yaml") else _OF_BYTES


def do_damage(path: Path, damage: str, draw: random.Random) -> None:
    data = path.read_bytes()
    path.unlink()
    if damage in _OF_PATHS:
        _OF_PATHS[damage](path)
    else:
        path.write_bytes(damages_of(path.name)[damage](data, draw))


_OF_PATHS: dict[str, Callable[[Path], None]] = {
    "removed": lambda path: None,
    "a folder in its place": lambda path: (path.mkdir(), (path / "x").write_text("x"), None)[-1],
    "a link to nowhere in its place": lambda path: path.symlink_to("nowhere"),
    "a link to itself in its place": lambda path: path.symlink_to(path.name),
}


def _flipped(data: bytes, draw: random.Random) -> bytes:
    if not data:
        return b"\x01"
    place = draw.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]


def _spliced(data: bytes, draw: random.Random, piece: bytes) -> bytes:
    place = draw.randrange(len(data) + 1)
    return data[:place] + piece + data[place + len(piece) :]


_OF_BYTES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    **{name: lambda data, draw: data for name in _OF_PATHS},
    "emptied": lambda data, draw: b"",
    "cut": lambda data, draw: data[: draw.randrange(len(data) or 1)],
    "its last byte cut off": lambda data, draw: data[:-1],
    "its first half cut off": lambda data, draw: data[len(data) // 2 :],
    "one bit flipped": _flipped,
    "zeros in it": lambda data, draw: _spliced(data, draw, bytes(64)),
    "all zeros": lambda data, draw: bytes(len(data)),
    "not UTF-8": lambda data, draw: _spliced(data, draw, b"\xff\xfe\x80"),
    "twice in a row": lambda data, draw: data + data,
    "another file's bytes": lambda data, draw: draw.choice(
        (b"\x89PNG\r\n\x1a\n", b"PK\3\4", b"7", b"null", b"{}\n", b"[]\n")
    ),
}


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to everything inside a tree of lists and mappings, and to the tree itself."""
    yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _places(value[key], (*path, key))


def _changed(tree: Any, draw: random.Random, change: Callable[[Any, Any], None], replacement: Any = None) -> Any:
    """The tree with one place changed: `change` gets what holds it, and its key."""
    tree = copy.deepcopy(tree)
    *way, last = draw.choice([place for place in _places(tree)][1:] or [(None,)])
    if last is None:
        return replacement
    change(_at(tree, way), last)
    return tree


def _at(tree: Any, place: Sequence[Any]) -> Any:
    for key in place:
        tree = tree[key]
    return tree


def _each_line(data: bytes, draw: random.Random, change: Callable[[Any], Any]) -> bytes:
    """One of the values in a file of JSON or of JSON lines changed; what cannot be parsed stays."""
    try:
        return (json.dumps(change(json.loads(data)), indent=2) + "\n").encode()
    except ValueError:
        rows = data.split(b"\n")
    chosen = draw.randrange(max(1, len(rows) - 1))
    with suppress(ValueError):
        rows[chosen] = json.dumps(change(json.loads(rows[chosen]))).encode()
    return b"\n".join(rows)


def _replaced(data: bytes, draw: random.Random) -> bytes:
    value = draw.choice(WRONG)
    return _each_line(data, draw, lambda tree: _with(tree, draw, value))


def _with(tree: Any, draw: random.Random, value: Any) -> Any:
    """The tree with the value at one place."""
    return _changed(tree, draw, lambda node, key: node.__setitem__(key, value), value)


def _without_key(data: bytes, draw: random.Random) -> bytes:
    return _each_line(data, draw, lambda tree: _changed(tree, draw, lambda node, key: node.__delitem__(key)))


def _no_number(data: bytes, draw: random.Random) -> bytes:
    marked = _each_line(data, draw, lambda tree: _with(tree, draw, "MARK"))
    return marked.replace(b'"MARK"', draw.choice(INVALID_NUMBERS).encode())


def _nudged(data: bytes, draw: random.Random) -> bytes:
    """One number a little larger: what nobody sees without a hash."""

    def nudge(tree: Any) -> Any:
        numbers = [place for place in _places(tree) if place and type(_at(tree, place)) in (int, float)]
        if numbers:
            *way, last = draw.choice(numbers)
            _at(tree, way)[last] += 1
        return tree

    return _each_line(data, draw, nudge)


def _lines(change: Callable[[list[bytes], int], list[bytes]]) -> Callable[[bytes, random.Random], bytes]:
    def changed(data: bytes, draw: random.Random) -> bytes:
        rows = data.splitlines(keepends=True) or [b""]
        return b"".join(change(rows, draw.randrange(len(rows))))

    return changed


_OF_JSON: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "a value of another type": _replaced,
    "a key removed": _without_key,
    "no number of JSON": _no_number,
    "one number larger": _nudged,
    "a line twice": _lines(lambda rows, number: [*rows[:number], rows[number], *rows[number:]]),
    "a line removed": _lines(lambda rows, number: rows[:number] + rows[number + 1 :]),
    "its lines in another order": _lines(lambda rows, number: rows[number or 1 :] + rows[: number or 1]),
}


def _yaml_value(data: bytes, draw: random.Random) -> bytes:
    value = draw.choice([each for each in WRONG if each != "\ud800"])
    return yaml.safe_dump(_with(yaml.safe_load(data), draw, value), sort_keys=False).encode()


def _yaml_key(data: bytes, draw: random.Random) -> bytes:
    changed = _changed(yaml.safe_load(data), draw, lambda node, key: node.__delitem__(key))
    return yaml.safe_dump(changed, sort_keys=False).encode()


_OF_YAML: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "a value of another type": _yaml_value,
    "a key removed": _yaml_key,
    "a line removed": _OF_JSON["a line removed"],
}


def results(root: Path, reader: Reader) -> dict[str, bytes]:
    """What the reader has written, where that is a matter of what it read."""
    if not reader.results:
        return {}
    found = sorted(path for path in root.glob(reader.results) if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}
