"""What comes from outside is shown on the terminal, and never obeyed."""

from __future__ import annotations

import ast
import io
import json
import sys
from pathlib import Path

import pytest

import flowbench
from flowbench import terminal
from flowbench.terminal import one_line, printable

PACKAGE = Path(flowbench.__file__).parent
HOSTILE = {
    "\x1b]0;title\x07": r"\u001b]0;title\u0007",
    "\x9b31m": r"\u009b31m",
    "a\rb": r"a\u000db",
    "\x7f\x00": r"\u007f\u0000",
    "x\u202eexe.py": r"x\u202eexe.py",
    "\u2066\u2069\u061c\u200f": r"\u2066\u2069\u061c\u200f",
    "\udcff": r"\udcff",
    "\U000e0041": r"\udb40\udc41",
}


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_is_obeyed_is_shown(text: str) -> None:
    assert printable(text) == one_line(text) == HOSTILE[text]
    assert json.loads(printable(json.dumps(text, ensure_ascii=False))) == text


@pytest.mark.parametrize("text", ["ein Würfel", "猫が二匹", "👩‍🚀", "می‌خواهم", "a  b", "[bold]x[/]"])
def test_what_is_read_stays(text: str) -> None:
    assert printable(text) == one_line(text) == text


def test_a_line_has_no_breaks_and_a_text_keeps_them() -> None:
    assert one_line("a\n  b\tc\n") == "a b c"
    assert printable("a\n\tb\n") == "a\n\tb\n"


def test_say_and_show_text(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say(Path("a\nb\x1b"))
    terminal.say("x", err=True)
    terminal.show_text("a\nb\x1b\n")
    said = capsys.readouterr()
    assert said.out == "a b\\u001b\na\nb\\u001b\n" and said.err == "x\n"


def test_a_narrow_encoding_gets_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Valid JSON, too."""
    pipe = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe, encoding="ascii", newline="\n"))
    terminal.escape_what_cannot_be_encoded()
    terminal.show_text('["é", "😀", "\udcff"]\n')
    assert json.loads(pipe.getvalue().decode("ascii")) == ["é", "😀", "\udcff"]


PRINTS = {
    "terminal.py",
    "cli/output.py",  # what rich has coloured
    "cli/eval_processes.py",  # what another process of ours has said already
    "assets/download.py",  # numbers
}


def test_nobody_else_prints() -> None:
    """Whoever shows something takes `say`, `show_text` or a table."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith("pretrain/"):
            continue
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        words = {ast.unparse(call.func) for call in calls}
        if words & {"print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write", "console.print"}:
            found.add(name)
    assert found == PRINTS
