"""`flowbench view` and the galleries of `flowbench report`, as commands."""

from __future__ import annotations

import html
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Command = Callable[..., Any]


def test_report_of_a_run_writes_a_gallery_of_each_evaluation(world: Any, flowbench: Command) -> None:
    result = flowbench("report", world.run)
    assert result.exit_code == 0, result.output
    (gallery,) = world.run.glob("eval/*/gallery.html")
    page = (world.run / "report.html").read_text()
    assert f'href="eval/{gallery.parent.name}/gallery.html"' in page
    assert "a photo of" in gallery.read_text()


def _commands(page: Path) -> list[str]:
    return re.findall(r"^flowbench .*", html.unescape(page.read_text()).replace("<pre>", "\n"), flags=re.MULTILINE)


def test_a_run_without_evaluations_says_what_train_said(world: Any, flowbench: Command, tmp_path: Path) -> None:
    run = shutil.copytree(world.run, tmp_path / "first", ignore=shutil.ignore_patterns("eval"))
    assert flowbench("report", run).exit_code == 0
    commands = [line.replace(str(run), str(world.run)) for line in _commands(run / "report.html")]
    assert commands == [line.strip() for line in world.said.partition("next:\n")[2].splitlines()]
    assert [line.split()[1] for line in commands] == ["eval", "eval", "leaderboard", "report"]


def test_the_commands_of_a_run_without_a_base_make_its_before(world: Any, flowbench: Command, tmp_path: Path) -> None:
    run = shutil.copytree(world.run, tmp_path / "first")
    assert flowbench("report", run).exit_code == 0
    commands = _commands(run / "report.html")
    assert [line.split()[1] for line in commands] == ["eval", "report"]
    assert "<h3>First prompts of each tag</h3>" not in (run / "report.html").read_text()
    for line in commands:
        result = flowbench(*shlex.split(line)[1:])
        assert result.exit_code == 0, result.output
    page = (run / "report.html").read_text()
    assert "<h3>First prompts of each tag</h3>" in page and _commands(run / "report.html") == []
    assert flowbench("compare", run, tmp_path / "first-base").exit_code == 0  # under the same settings


def test_report_of_evaluations_without_a_training(world: Any, flowbench: Command) -> None:
    result = flowbench("report", world.base)
    assert result.exit_code == 0, result.output
    pages = [Path(line) for line in result.stdout.splitlines()]
    assert len(pages) == 2 and all(page.is_file() and page.name == "gallery.html" for page in pages)
    assert not (world.base / "report.html").exists()
    one = flowbench("report", pages[0].parent)
    assert one.stdout == f"{pages[0]}\n"


def test_report_against_a_baseline_pairs_what_can_be_compared(world: Any, flowbench: Command) -> None:
    result = flowbench("report", world.run, "--against", world.base)
    assert result.exit_code == 0, result.output
    (page,) = [Path(line) for line in result.stdout.splitlines()]  # guidance 1 or 3: one of the two fits
    assert page.name.startswith("against-") and page.parent.parent == world.run / "eval"
    both = flowbench("report", world.run, "--against", world.base, "--allow-mismatch")
    assert len(both.stdout.splitlines()) == 2


def test_report_against_what_does_not_fit(world: Any, flowbench: Command, tmp_path: Path) -> None:
    other = tmp_path / "dev"
    words = ("--suite", "shapes_dev", "--limit", "1", "--steps", "2", "--out", other)
    assert flowbench("eval", "--ckpt", world.model, *words).exit_code == 0
    result = flowbench("report", world.run, "--against", other)
    assert result.exit_code == 2
    assert "share no suite to compare on: here shapes, there shapes_dev" in result.stderr
    (low, high) = flowbench("report", world.base).stdout.splitlines()
    refused = flowbench("report", Path(low).parent, "--against", Path(high).parent)
    assert refused.exit_code == 2 and "they differ in guidance" in refused.stderr
    missing = flowbench("report", world.run, "--suite", "nothing")
    assert missing.exit_code == 2 and "no finished evaluation of suite 'nothing'" in missing.stderr


def test_pictures_that_were_scored_elsewhere_are_found(flowbench: Command, tmp_path: Path) -> None:
    for name, color in (("ours", "red"), ("theirs", "blue")):
        (tmp_path / name).mkdir()
        Image.new("RGB", (200, 100), color).save(tmp_path / name / "a.png")
        (tmp_path / name / "a.txt").write_text("a </script> cat")
        scored = flowbench("score", tmp_path / name, "--reward", "jpeg", "--out", tmp_path / f"scored-{name}")
        assert scored.exit_code == 0, scored.output
    ours, theirs = tmp_path / "scored-ours", tmp_path / "scored-theirs"
    blank = Path(flowbench("report", ours).stdout.strip())
    assert "data:image/webp" not in blank.read_text()
    whole = Path(flowbench("report", ours, "--pictures", tmp_path / "ours").stdout.strip())
    assert whole.read_text().count("data:image/webp") == 1
    places = ("--pictures", tmp_path / "ours", "--pictures", tmp_path / "theirs")
    result = flowbench("report", ours, "--against", theirs, *places)
    assert result.exit_code == 0, result.output
    assert Path(result.stdout.strip()).read_text().count("data:image/webp") == 2
    assert "--pictures is given 2 times" in flowbench("report", ours, *places).stderr


def test_view_serves_until_interrupted(world: Any) -> None:
    command = [sys.executable, "-m", "flowbench", "view", str(world.run), "--no-browser"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, preexec_fn=_heed_interrupts, **pipes) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(address, timeout=20) as answer:
                assert "Evaluations" in answer.read().decode()
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_a_ctrl_c_that_an_import_swallows_ends_it(flowbench: Command, monkeypatch: Any, tmp_path: Path) -> None:
    """Compiled modules do so, once in some hundred times; nothing else would end the command."""
    from flowbench.reports.pages import server

    make_server = server.make_server

    def swallow(*words: Any) -> Any:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return make_server(*words)

    monkeypatch.setattr(server, "make_server", swallow)
    monkeypatch.setattr("http.server.ThreadingHTTPServer.serve_forever", lambda server: pytest.fail("it serves"))
    result = flowbench("view", tmp_path, "--no-browser")
    assert (result.exit_code, result.stderr.split()[-1]) == (130, "interrupted")


def test_what_an_import_makes_of_ctrl_c_is_no_error(flowbench: Command, monkeypatch: Any, tmp_path: Path) -> None:
    """As numpy's, when it comes in the middle of it."""

    def fail(*words: Any) -> None:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise ImportError("numpy._core.multiarray failed to import")

    monkeypatch.setattr("flowbench.reports.pages.server.make_server", fail)
    result = flowbench("view", tmp_path)
    assert (result.exit_code, result.stderr.strip()) == (130, "interrupted")


def _heed_interrupts() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(("missing",), "there is no such folder"), ((".", "--port", "70000"), "is not in the range 1<=x<=65535")],
)
def test_view_mistakes(flowbench: Command, words: tuple[str, ...], sentence: str) -> None:
    result = flowbench("view", *words)
    assert result.exit_code == 2
    assert sentence in result.stderr


@pytest.mark.parametrize(
    ("variables", "opens"),
    [({"DISPLAY": ":0"}, True), ({}, False), ({"DISPLAY": ":0", "SSH_CONNECTION": "1.2.3.4"}, False)],
)
def test_a_browser_opens_only_where_there_is_a_screen(
    flowbench: Command, monkeypatch: Any, tmp_path: Path, variables: dict[str, str], opens: bool
) -> None:
    opened: list[str] = []
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("http.server.ThreadingHTTPServer.serve_forever", lambda server: None)
    result = flowbench("view", tmp_path)
    assert result.exit_code == 0, result.output
    assert bool(opened) == opens
    flowbench("view", tmp_path, "--no-browser")
    assert len(opened) == int(opens)
