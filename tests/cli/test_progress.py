"""What an evaluation says while it works, where stderr is no terminal."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowbench.cli.progress import evaluation_progress


class Clock:
    """Stands still unless it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def batches(clock: Clock, seconds: float, total: int) -> Iterator[int]:
    """Ten pictures at a time, each batch in that many seconds."""
    for done in range(10, total + 1, 10):
        clock.now += seconds
        yield done


def test_a_line_about_every_thirty_seconds_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with evaluation_progress("shapes", clock=clock) as progress:
        for done in batches(clock, 10, 90):
            progress("generate", done, 90)
        for done in batches(clock, 2, 90):
            progress("geneval", done, 90)
        for done in batches(clock, 500, 90):
            progress("vqa", done, 90)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[:3] == [
        "shapes: making pictures 30/90, 1:00 left",  # 10 seconds for 10
        "shapes: making pictures 60/90, 0:30 left",
        "shapes: making pictures: done in 1:30",
    ]
    assert "geneval" not in said.err  # 18 seconds
    assert said.err.splitlines()[3:5] == ["shapes: scoring, vqa 10/90", "shapes: scoring, vqa 20/90, 58:20 left"]
    assert said.err.splitlines()[-1] == "shapes: scoring, vqa: done in 1:15:00"


def test_what_was_there_before_does_not_count_for_the_pace(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with evaluation_progress("shapes", clock=clock) as progress:
        progress("generate", 500, 1000)
        clock.now += 40
        progress("generate", 510, 1000)
    assert capsys.readouterr().err.splitlines()[0] == "shapes: making pictures 510/1000, 32:40 left"  # 49 times 40 s


def test_quiet_ones_and_failed_ones(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with evaluation_progress("shapes", quiet=True, clock=clock) as progress:
        for done in batches(clock, 40, 50):
            progress("generate", done, 50)
    with pytest.raises(OSError, match="disk"), evaluation_progress("shapes", clock=clock) as progress:
        progress("generate", 10, 50)
        clock.now += 20
        raise OSError("disk")
    assert capsys.readouterr().err == ""
    with pytest.raises(OSError, match="disk"), evaluation_progress("shapes", clock=clock) as progress:
        for done in batches(clock, 40, 30):
            progress("generate", done, 50)
        raise OSError("disk")
    assert "done" not in capsys.readouterr().err
