"""The commands that make an evaluation again, written from its settings card."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from flowbench.evals.results import Results


def commands(sides: Sequence[Results]) -> list[str]:
    """One line that evaluates each side, then, of two sides, those that compare them."""
    lines = [_evaluate(side) for side in sides]
    if len(sides) > 1:
        baseline, candidate = (shlex.quote(_shown(side.folder)) for side in sides)
        lines += [f"flowbench compare {candidate} {baseline}", f"flowbench report {candidate} --against {baseline}"]
    return lines


def _evaluate(results: Results) -> str:
    """`--limit` stands there always: with the number of all prompts it changes nothing."""
    agreed, declared, noted = (results.card.get(part, {}) for part in ("must_agree", "declared", "noted"))
    run = _run(results)
    if results.card["subject"].get("model") == "pictures":  # flowbench score: it knows the pictures, not their folder
        return _line("score", ["PICTURES", "--reward", agreed.get("suite"), "--out", _shown(run)])
    trained = results.card["subject"].get("adapter", "none") != "none"
    source = results.card["subject"].get("source") or results.card["subject"].get("model")
    subject = _shown(run) if trained and (run / "checkpoints").is_dir() else source
    words = ["--ckpt", subject, "--suite", agreed.get("suite")]
    options = {
        "--guidance": declared.get("guidance"),
        "--steps": declared.get("steps"),
        "--seed": agreed.get("seed"),
        "--limit": agreed.get("num_prompts"),
        "--batch-size": noted.get("batch_size"),
        "--dtype": str(noted["dtype"]).removeprefix("torch.") if noted.get("dtype") else None,
        "--out": _shown(run),
    }
    for name, value in options.items():
        if value is not None:
            words += [name, f"{value:g}" if isinstance(value, float) else value]
    return _line("eval", words)


def _line(command: str, words: Sequence[object]) -> str:
    return " ".join(["flowbench", command, *(shlex.quote(str(word)) for word in words)])


def _run(results: Results) -> Path:
    """The run folder of `<run>/eval/<suite>-<key>`."""
    folder = results.folder.resolve()
    return folder.parent.parent if folder.parent.name == "eval" else folder


def _shown(path: Path) -> str:
    """As one would type it: relative to where one stands when it lies below."""
    relative = os.path.relpath(path.resolve())
    return str(path.resolve()) if relative.startswith("..") else relative
