"""Command lines, drawn from the click tree of `flowbench`: a command or option that is added signs itself up.

A line starts from the smallest that does what the command is for (`SMALLEST`). One parameter, in turn each of the tree,
gets a value that is either of its kind (`GOOD`) or hostile; now and then others do, too, or the words are disarranged.
"""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from hostile import AT_IMPORT, MISBEHAVIOUR
from world import SMALL_TRAINING

from flowbench.cli import main
from flowbench.config import setting_names
from flowbench.objective_config import BUILT_IN

Values = dict[str, list[str]]
"""Parameter -> its values; none for a flag that is given."""


@dataclass(frozen=True)
class Line:
    """One command line; `values` is None where the words were disarranged, so that nobody knows what they ask for."""

    command: str
    words: tuple[str, ...]
    values: Values | None
    interrupt: float | None = None
    """Seconds after which Ctrl-C is pressed."""

    def given(self, name: str) -> list[str]:
        return (self.values or {}).get(name, [])

    def __str__(self) -> str:
        pressed = f"   # Ctrl-C after {self.interrupt:.2f} s" if self.interrupt is not None else ""
        return " ".join(["flowbench", *map(quoted, self.words)]) + pressed


def quoted(word: str) -> str:
    """For a shell: bytes that cannot be printed as $'...', a text repeated very often by the command that makes it."""
    unit = word[:2] if word[1:2] != word[:1] else word[:1]
    if len(word) > 250 and word == unit * (len(word) // len(unit)):
        return f'"$(printf %{len(word) // len(unit)}s | sed "s| |{unit}|g")"'
    if word.isprintable() and word.isascii():
        return shlex.quote(word)
    data = word.encode("utf-8", "surrogateescape")
    return "$'" + "".join(chr(b) if 32 <= b < 127 and chr(b) not in "'\\" else f"\\x{b:02x}" for b in data) + "'"


SMALLEST: Mapping[str, Values] = {
    "train": {"model": ["tiny"], "rewards": ["jpeg"], "processes": ["1"], "steps": ["1"], "out": ["new/run"],
              "arguments": list(SMALL_TRAINING)},
    "eval": {"ckpt": ["tiny"], "suites": ["shapes"], "limit": ["1"], "images_per_prompt": ["1"], "steps": ["1"],
             "out": ["new/eval"]},
    "score": {"source": ["table.csv"], "rewards": ["jpeg"], "out": ["new/score"]},
    "compare": {"candidate": ["run"], "baseline": ["base"]},
    "leaderboard": {"runs": ["run", "base"]},
    "report": {"run": ["run"]},
    "view": {"run": ["run"], "no_browser": []},
    "export": {"folder": ["base"], "style": ["jsonl"], "out": ["new/export"]},
    "leakage": {"training": ["prompts.txt"], "evaluation": ["prompts.jsonl"]},
    "doctor policy": {"model": ["tiny"], "arguments": list(SMALL_TRAINING)},
    "doctor rewards": {"names": ["jpeg"]},
    "list": {"kind": ["recipes"]},
    "assets pull": {"names": ["prompts-drawbench"]},
    "assets path": {"name": ["prompts-drawbench"]},
    "assets convert": {"name": ["geneval"], "file": ["hostile/binary.txt"], "out": ["new/converted"]},
}  # fmt: skip
"""Command -> what makes it small; a required parameter that is not here is drawn."""

INSTEAD: Mapping[str, Values] = {
    "train --resume": {"steps": ["3"], "processes": ["1"]},
    "eval --images": {"suites": ["shapes"], "metrics": ["jpeg"], "out": ["new/eval"]},
    "eval --shard": {**SMALLEST["eval"], "stages": ["generate"]},
    "score --prompts": {**SMALLEST["score"], "source": ["pictures"]},
    "assets pull --all": {},
}
"""Command and option -> what makes the command small when the option is given."""

_EVALUATIONS = ("run", "base", "scored", "cached", "hostile/no_evaluation", "hostile/half_evaluation", "hostile/no_run")
_PROMPTS = ("prompts.txt", "prompts.csv", "prompts.tsv", "prompts.jsonl", "shapes", "geneval", "drawbench")
_PICTURES = ("pictures", "in_geneval_layout", "with_metadata", "table.csv", "table.jsonl", "exported")
_PLUGINS = ("good", *MISBEHAVIOUR, *AT_IMPORT)
_SCORERS = ("jpeg", "geneval", "ocr", "good", "saturation", "jpeg,saturation", "vendi", "fid", "kid", "grid_energy",
            "pickscore", "geneval_official")  # fmt: skip
GOOD: Mapping[str, Sequence[str]] = {
    "model": ("tiny", "shapes"),
    "ckpt": ("tiny", "run", "adapter", "run/checkpoints/step-000001", "shapes"),
    "images": _PICTURES,
    "source": _PICTURES,
    "reference": _PICTURES,
    "pictures": _PICTURES,
    "suites": ("shapes", "shapes_dev", "suite.yaml", "shapes,suite.yaml"),
    "suite": ("shapes", "pictures"),
    "metrics": _SCORERS,
    "rewards": (*_SCORERS[:4], "jpeg=0.1", "jpeg=1,good=2"),
    "metric": _SCORERS,
    "objective": BUILT_IN,
    "prompts": _PROMPTS,
    "training": (*_PROMPTS, "run", "shapes:dev"),
    "evaluation": (*_PROMPTS, "suite.yaml", "shapes:dev"),
    "resume": ("run",),
    "stages": ("generate", "score", "summarise", "generate,score"),
    "shard": ("1/1", "1/2", "2/2"),
    "published": ("geneval", "drawbench", "published.yaml"),
    "runs": ("run", "base", "scored"),
    "bases": ("base",),
    "vocabulary": ("shapes", "coco80"),
    "plugins": [f"plugins/{name}.py" for name in _PLUGINS],
    "accepted": ("jpeg", "ocr"),
    "device": ("cpu", "auto"),
    "label": ("mine", "\u00e9"),
    "name": ("jpeg", "shapes", "flow_grpo", "prompts-drawbench", "geneval", "shapes-geneval"),
    "names": ("jpeg", "shapes", "prompts-dpg", "geneval"),
    "reward": ("jpeg", "good"),
    "out": ("new/there", "new.md"),
    "page": ("new.html",),
    "port": ("8765",),
    **dict.fromkeys(("run", "folder", "candidate", "baseline", "against"), _EVALUATIONS[:4]),
}
"""Parameter -> values of its kind. One that is not here gets the first of its choices, the least of its range, or a
place in the world."""

_NUMBERS = (
    "0", "-1", "1.5", "nan", "inf", "-inf", "1e308", "1e999", str(10**30), str(2**63), "1_0", "0x1", "\u0661", "\u00b2",
    "1e-400", " 1", "1 ", "+1", "01", "1,5", "1/0", "0/0", "2/1", "1/\u0662", f"1/{10**30}",
)  # fmt: skip
_TEXTS = (
    "", " ", "\t\n", ",", ",,", "=", "a=", "=b", "a=b=c", ":", "a:", ":a", ".", "-", "--", "true", "null", "None", "[]",
    "{}", "\udcff", "caf\udce9", "\udced\udca0\udc80", "\u202e", "\U0001f600", "\u00e9" * 200, "\x1b[31mred\x1b[0m",
    "\x07", "a\nb", "\x9b31m", "[/]", "[bold", "[/bold]", "[link=x]", "\\[/]", "=1+1", "@SUM(1)", "+1+", "-2+3+",
    "<script>", "{{7*7}}", "%s%n", "{0}", "$(true)", "a" * 300, "a" * 5000, "a/" * 3000, "~nobody/x", "nowhere",
    "nowhere/below", "prompts.txt/below", "hostile/loop", "hostile/loop/below", "hostile/dangling", "C:\\x", "//host/x",
    "owner/name", "https://example.invalid/x",
)  # fmt: skip
_YAML = (
    "", "null", "~", "true", "[]", "{}", "[a]", "{a: b}", "{a: {b: c}}", "-1", "0", "1.5", ".nan", ".inf", "-.inf",
    "1e308", "1e999", str(10**30), "9" * 5000, "0x10", "1:30", "2020-01-01", '""', "' '", '"a\\0b"', '"\\ud800"',
    '"\\e[31m"', "'[/]'", "'[bold'", "=1+1", "!!python/name:os.system", "!!binary x", "*a", "&a [*a]", "[" * 3000, "{",
    "'", "a: b: c", "\udcff", "\t", "nowhere", ".",
)  # fmt: skip
"""Values of settings. A NUL or a surrogate, which no word of a command line can hold, can be written in YAML."""
_TABLE, _PROMPT_FILE, _FOLDER_OF_PICTURES = r"\.(csv|jsonl)$", r"\.(txt|csv|tsv|jsonl)$", r"pictures/[^/]*$|geneval"
APT: Mapping[str, str] = {
    **dict.fromkeys(("source", "images", "reference", "pictures"), f"{_TABLE}|{_FOLDER_OF_PICTURES}"),
    **dict.fromkeys(("prompts", "training", "evaluation"), _PROMPT_FILE),
    **dict.fromkeys(("suites", "published", "arguments"), r"\.yaml$"),
    **dict.fromkeys(("run", "runs", "folder", "candidate", "baseline", "ckpt", "model", "resume"),
                    r"hostile/[^/]*_[^/.]*$"),
    "plugins": r"^plugins/",
}  # fmt: skip
"""Parameter -> the hostile places that it is mostly tried with: others are refused at first sight."""
TURNS = {"plugins": 5, "arguments": 5, "source": 5, "prompts": 3, "images": 3, "suites": 3}
"""Of parameters that open a world of their own; all others have one."""

WRITTEN = ("out", "page")
"""Parameters that say where to write: never out of the world, which a superuser could."""


class CommandLines:
    """An endless supply, the same for the same seed and the same world."""

    def __init__(self, seed: int, world: Path):
        self._random = random.Random(f"command lines {seed}")
        self._places = sorted(path.relative_to(world).as_posix() for path in world.rglob("*"))
        self._hostile_places = [path for path in self._places if path.startswith(("hostile/", "plugins/"))]
        self._settings = [*setting_names(), *setting_names("nft"), "reward.options.jpeg", "reward.name.jpeg", "", "."]

    def __iter__(self) -> Iterator[Line]:
        while True:
            turn = [(path, command, parameter) for path, command in commands() for parameter in command.params
                    for _ in range(TURNS.get(str(parameter.name), 1))]  # fmt: skip
            self._random.shuffle(turn)
            for path, command, parameter in turn:
                yield self._line(path, command, parameter)

    def _line(self, path: str, command: click.Command, chosen: click.Parameter) -> Line:
        draw = self._random
        others = draw.choices(command.params, k=draw.choice((0, 0, 0, 1, 2)))
        flags = [f"{path} {flag}" for parameter in (chosen, *others) for flag in parameter.opts]
        smallest = next((INSTEAD[flag] for flag in flags if flag in INSTEAD), SMALLEST.get(path, {}))
        values = {name: list(each) for name, each in smallest.items()}
        for parameter in command.params:
            if parameter.required and parameter.name not in values:
                values[str(parameter.name)] = [self._good(parameter)]
        for parameter, hostile in [(chosen, 0.7), *((other, 0.25) for other in others)]:
            self._give(values, parameter, hostile=draw.random() < hostile)
        self._add_plugins(values, command)
        words, interrupt = self._words(path, command, values), None
        if path == "view":  # which ends in no other way
            interrupt = draw.uniform(1.0, 2.0)
        elif draw.random() < 0.02:
            interrupt = draw.uniform(0.05, 1.0)
        if draw.random() < 0.05:
            return Line(path, self._disarranged(words), None, interrupt)
        return Line(path, words, values, interrupt)

    def _give(self, values: Values, parameter: click.Parameter, *, hostile: bool) -> None:
        name, draw = str(parameter.name), self._random
        if getattr(parameter, "is_flag", False):
            values[name] = []
        elif name == "arguments":
            values[name] = [*values.get(name, []), self._argument(hostile)]
        else:
            value = self._hostile(parameter) if hostile else self._good(parameter)
            several = parameter.multiple if isinstance(parameter, click.Option) else parameter.nargs == -1
            values[name] = [*values.get(name, []), value] if several and draw.random() < 0.3 else [value]

    def _good(self, parameter: click.Parameter) -> str:
        kind, name = parameter.type, str(parameter.name)
        if isinstance(kind, click.Choice):
            return str(self._random.choice(list(kind.choices)))
        if name in GOOD:
            return self._random.choice(GOOD[name])
        if isinstance(kind, (click.IntRange, click.FloatRange)):
            least = 0 if kind.min is None else kind.min
            return str(least + 1 if kind.min_open else least)
        return self._random.choice(self._places)

    def _hostile(self, parameter: click.Parameter) -> str:
        draw = self._random
        if isinstance(parameter.type, (click.IntRange, click.FloatRange)):
            return draw.choice(_NUMBERS if draw.random() < 0.8 else _TEXTS)
        name = str(parameter.name)
        if draw.random() < 0.6:
            return self._hostile_place(name)
        texts = [each for each in _TEXTS if not (each.startswith("/") and name in WRITTEN)]
        return draw.choice((*texts, *_NUMBERS[:10], draw.choice(self._places)))

    def _hostile_place(self, name: str) -> str:
        apt = re.compile(APT.get(name, "") if self._random.random() < 0.8 else "")
        return self._random.choice([place for place in self._hostile_places if apt.search(place)])

    def _argument(self, hostile: bool) -> str:
        """KEY=VALUE of train, NAME.OPTION=VALUE of eval and score; or what is neither."""
        draw = self._random
        if not hostile:
            return draw.choice(("jpeg.larger=true", "geneval.extra_price=0.4", "seed=3", "optimizer.lr=1e-4"))
        if draw.random() < 0.2:
            return draw.choice((*_TEXTS, self._hostile_place("arguments"), self._hostile_place("arguments")))
        keys = ("jpeg.larger", "geneval.extra_price", "geneval.strict_share", "ocr.variant", "good.x", "nothing.x")
        key = draw.choice(self._settings) if draw.random() < 0.7 else draw.choice(keys)
        return f"{key}={draw.choice(_YAML)}"

    def _add_plugins(self, values: Values, command: click.Command) -> None:
        """Rewards of plugins need their files, and a plugin is nothing without its reward: mostly both are given."""
        takes = {str(parameter.name) for parameter in command.params}
        if "plugins" not in takes:
            return
        files = [Path(path).stem for path in values.get("plugins", ()) if path.startswith("plugins/")]
        if "rewards" in takes and files and self._random.random() < 0.9:
            values["rewards"] = [self._random.choice(files)]
        elif "metrics" in takes and files and self._random.random() < 0.9:
            values["metrics"] = [self._random.choice(files)]
        if any("good" in word for key in ("rewards", "metrics", "names") for word in values.get(key, ())):
            values["plugins"] = [*values.get("plugins", ()), "plugins/good.py"]

    def _words(self, path: str, command: click.Command, values: Values) -> tuple[str, ...]:
        options: list[str] = []
        arguments: list[str] = []
        for parameter in command.params:
            name = str(parameter.name)
            if name not in values:
                continue
            if isinstance(parameter, click.Argument):
                arguments += values[name]
                continue
            flag = self._random.choice([each for each in parameter.opts if each.startswith("--")])
            if parameter.is_flag:
                options.append(flag)
            for value in values[name]:
                options += [f"{flag}={value}"] if self._random.random() < 0.3 else [flag, value]
        return (*path.split(), *options, *arguments)

    def _disarranged(self, words: tuple[str, ...]) -> tuple[str, ...]:
        draw, changed = self._random, list(words)
        place = draw.randrange(len(changed))
        how = draw.choice(("drop", "double", "swap", "cut", "help", "unknown", "debug"))
        if how == "drop":
            del changed[place]
        elif how == "swap":
            changed.reverse()
        elif how == "cut":
            changed[place] = changed[place][: len(changed[place]) // 2]
        else:
            extra = {"double": changed[place], "help": "--help", "unknown": "--no-such-option", "debug": "--debug"}
            changed.insert(0 if how == "debug" else place, extra[how])
        return tuple(changed)


def commands(group: click.Group = main, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with the words that lead to it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield path + name, command
