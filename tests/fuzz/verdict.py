"""Whether what a command line did is what it may do: end with exit code 0 and what was asked done, or with exit code 2
and one sentence, or with 130 after Ctrl-C."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from command_lines import Line
from forkserver import MOST_PROCESSES, TOO_MANY, Reply
from hostile import ENDS_THE_INTERPRETER, SAID_BY_PLUGIN
from world import Contents, changes

WRITERS = ("train", "eval", "score", "export", "report")
"""Commands that are there to write."""
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_INNARDS = re.compile(r"<class '|'NoneType' object|Errno \d|Traceback|\b[A-Z]\w+Error\(")
_LONGEST = 20_000


def faults(line: Line, reply: Reply, before: Contents, after: Contents) -> Iterator[str]:
    """What is wrong, in words that are the same for the same fault; nothing when all is well."""
    stderr = reply.stderr.decode("utf-8", "backslashreplace")
    ends = any(name in word for name in ENDS_THE_INTERPRETER for word in line.words)
    as_asked = (ends and reply.code not in (0, 2, None)) or (reply.code == TOO_MANY and _wants_many_processes(line))
    if not as_asked:  # Python shows a Ctrl-C that comes where it cannot be raised
        shown = "--debug" in line.words or (line.interrupt is not None and reply.code in (0, 130))
        yield from crashes(reply, stderr, debug=shown)
    if any(_CONTROLS.search(text) for text in (stderr, reply.stdout.decode("utf-8", "backslashreplace"))):
        yield "control characters reach the terminal"
    if SAID_BY_PLUGIN.encode() in reply.stdout:
        yield "what a plugin prints is on stdout"
    if any(path.endswith(".tmp") for path in after.keys() - before.keys()) and line.interrupt is None:
        yield "a temporary file is left behind"
    if reply.code == 2 and (gone := [path for path in before.keys() - after.keys() if not path.startswith("cache")]):
        yield f"a refused command deleted {sorted(gone)[0]}"
    if reply.code == 2 and "--debug" not in line.words:
        yield from sentence_faults(stderr, several=line.command == "assets pull")
        if not line.given("plugins"):  # they may say so themselves
            yield from innards(stderr)
    if reply.code == 0 and line.values is not None and line.interrupt is None and "--help" not in line.words:
        yield from _not_done(line, reply, stderr, before, after)
    asked = line.interrupt is not None or any("interrupts" in word or "raises_interrupt" in word for word in line.words)
    if reply.code == 130 and not asked:
        yield "says that it was interrupted, and was not"


def _wants_many_processes(line: Line) -> bool:
    """Whether the line itself asks for more processes than one may start here: `1_0` is 10, as Python reads it."""
    options = " ".join(line.words).replace("--processes=", "--processes ").split("--processes ")[1:]
    return any(number > MOST_PROCESSES for option in options for number in _whole_numbers(option.split(" ")[0]))


def _whole_numbers(word: str) -> list[int]:
    try:
        return [int(word)]
    except ValueError:
        return []


def crashes(reply: Reply, stderr: str, *, debug: bool = False) -> Iterator[str]:
    """What no command may do, whatever it was given."""
    if reply.code is None:
        yield "does not end"
    elif reply.code == TOO_MANY:
        yield "starts processes without end"
    elif "Traceback (most recent call last)" in stderr and not debug:
        yield f"traceback: {where_it_broke(stderr)}"
    elif reply.code not in (0, 2, 130):
        yield f"exit code {reply.code}"


def where_it_broke(stderr: str) -> str:
    """The kind of the last exception, and the innermost line of ours."""
    last = stderr[stderr.rindex("Traceback (most recent call last)") :]
    places = re.findall(r'File "[^"]*/(flowbench/[^"]+)", line (\d+), in (\S+)', last)
    ends = [text for text in last.splitlines() if re.match(r"[A-Za-z_][\w.]*(:|$)", text)]
    kind = ends[-1].partition(":")[0] if ends else "?"
    return f"{kind} in {':'.join(places[-1])}" if places else kind


def sentence_faults(stderr: str, *, several: bool = False) -> Iterator[str]:
    """What is wrong with what a command says that ends with exit code 2: one sentence, the last line (`several`: a line
    for each thing that was asked for, and one for all)."""
    said = [text for text in stderr.splitlines() if text.strip()]
    errors = [text for text in said if text.startswith("error: ")]
    if not errors:
        yield "exit code 2 without a sentence"
        return
    if said[-1] != errors[-1]:
        yield "the sentence is broken into lines"
    elif len(errors) > 1 and not several:
        yield "more than one sentence"
    elif not said[-1].endswith((".", "?")) or len(said[-1]) > _LONGEST:
        yield "the sentence has no end"


def innards(stderr: str) -> Iterator[str]:
    """What Python calls things, in a sentence for people."""
    for sentence in stderr.splitlines():
        if sentence.startswith("error: ") and (found := _INNARDS.search(sentence)):
            yield f"the sentence shows what Python calls things: {found.group()}"


def _not_done(line: Line, reply: Reply, stderr: str, before: Contents, after: Contents) -> Iterator[str]:
    """Exit code 0 although nothing was done."""
    if not reply.stdout.strip() and not stderr.strip():
        yield "exit code 0 in silence"
    for total in re.findall(r"\(0 of (\d+) pictures are there\)", stderr):
        if not _share_is_empty(line, int(total)):
            yield "exit code 0, and no picture was made"
    into_file = line.command not in WRITERS and line.given("out")
    if line.given("style") == ["json"] and not (into_file or line.given("stages") or _is_json(reply.stdout)):
        yield "what is on stdout is no JSON"
    if "print_config" in (line.values or {}):
        return
    written = changes(before, after)
    if line.command in WRITERS and not written:
        yield "exit code 0, and nothing was written"
    if line.command == "train" and not any(path.endswith("checkpoints/latest") for path in written):
        yield "exit code 0, and no checkpoint was written"
    elsewhere = any(word.startswith("out=") for word in line.given("arguments"))
    for out in [] if elsewhere else [out for out in line.given("out") if out.startswith("new")]:
        if not any(each == out or each.startswith(f"{out}/") for each in written):
            yield "exit code 0, and nothing was written where --out says"


def _share_is_empty(line: Line, pictures: int) -> bool:
    """Whether the line asks for a share of the batches that has none: the second of two where there is one batch."""
    batch = max(_whole_numbers((line.given("batch_size") or ["16"])[-1]) or [1])
    first = _whole_numbers((line.given("shard") or [""])[-1].partition("/")[0])
    return any(index > -(-pictures // batch) for index in first)


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
