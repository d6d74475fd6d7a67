"""The alarms of a run's watch, with what it saw then and at the beginning, on the same prompts and seeds."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowbench import store
from flowbench.errors import FlowbenchError
from flowbench.images import facts_of
from flowbench.layout import RunFolder


@dataclass(frozen=True)
class Alarm:
    """One look at which something was amiss."""

    step: int
    """Training steps done."""
    sentences: tuple[str, ...]
    """What was amiss."""
    before: str
    """The beginning's pictures, as a data URI; "" where they are gone."""
    after: str
    """Those of the alarm."""


def alarms_of(run: RunFolder) -> list[Alarm]:
    """In the order of the steps. A file that is no look of this run's watch is left out."""
    looks = {step: (facts, data) for path in run.monitor.glob("step-*.png") for step, facts, data in _looks(path, run)}
    before = _uri(looks[0][1]) if 0 in looks else ""
    return [
        Alarm(step, tuple(map(str, facts["alarms"])), before, _uri(data))
        for step, (facts, data) in sorted(looks.items())
        if facts["alarms"]
    ]


def _looks(path: Path, run: RunFolder) -> Iterator[tuple[int, dict[str, Any], bytes]]:
    """(steps done, what stands in the file, its bytes) of a picture that the watch has written under that name."""
    with suppress(FlowbenchError):
        data = b"" if path.is_symlink() else store.read_bytes(path)
        facts = facts_of(data)
        step = facts.get("step")
        if type(step) is int and path == run.look(step) and isinstance(facts.get("alarms"), list):
            yield step, facts, data


def _uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
