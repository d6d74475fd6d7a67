"""The commands that make an evaluation again, written from its settings card."""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flowbench import metrics, rewards, store
from flowbench.evals.results import Results


def commands(sides: Sequence[Results]) -> list[str]:
    """One line that evaluates each side, then, of two sides, those that compare them."""
    lines = [_evaluate(side) for side in sides]
    if len(sides) > 1:
        baseline, candidate = (shlex.quote(_shown(side.folder)) for side in sides)
        lines += [f"flowbench compare {candidate} {baseline}", f"flowbench report {candidate} --against {baseline}"]
    return lines


def commands_for_base(trained: Sequence[Results], run: Path) -> list[str]:
    """The lines that evaluate, under the settings of these evaluations, the model without the adapter that `run` has
    trained, and write the run's report with both."""
    base = Path(f"{run}-base")
    return [
        *dict.fromkeys(_evaluate(each, base) for each in trained),
        _line("report", [_shown(run), "--base", _shown(base)]),
    ]


def _evaluate(results: Results, base: Path | None = None) -> str:
    """`--limit` stands there always: with the number of all prompts it changes nothing. With `base`: the same of the
    model without its adapter, into that folder."""
    agreed, declared, noted = (results.card.get(part, {}) for part in ("must_agree", "declared", "noted"))
    run = _run(results)
    if results.is_given and "scorer" in agreed:  # flowbench score; older evaluations have one scorer too
        return _score(str(agreed.get("suite")), run)
    # of given pictures the card knows the contents, not their folder
    subject = ["--images", "PICTURES"] if results.is_given else ["--ckpt", _subject(results, run, base)]
    options = {
        "--guidance": declared.get("guidance"),
        "--steps": declared.get("steps"),
        "--seed": agreed.get("seed"),
        "--limit": agreed.get("num_prompts"),
        "--images-per-prompt": agreed.get("images_per_prompt"),
        "--metric": ",".join(_scorers(results)) or None,
        "--batch-size": noted.get("batch_size"),
        "--dtype": str(noted["dtype"]).removeprefix("torch.") if noted.get("dtype") and not results.is_given else None,
        "--out": _shown(base or run),
    }
    words: list[object] = [*subject, "--suite", agreed.get("suite")]
    for name, value in options.items():
        if value is not None:
            words += [name, f"{value:g}" if isinstance(value, float) else value]
    return _line("eval", [*words, *_scorer_options(agreed.get("scorers") or {})])


def _score(scorer: str, run: Path) -> str:
    kind, factory = _known(scorer)
    reference = ["--reference", "REFERENCE"] if getattr(factory, "level", "") == "set" else []
    return _line("score", ["PICTURES", f"--{kind}", scorer, *reference, "--out", _shown(run)])


def _subject(results: Results, run: Path, base: Path | None) -> object:
    trained = results.card["subject"].get("adapter", "none") != "none" and base is None
    source = results.card["subject"].get("source") or results.card["subject"].get("model")
    return _shown(run) if trained and (run / "checkpoints").is_dir() else source


def _scorers(results: Results) -> list[str]:
    """All of them; first the one whose parts go by their plain names, since a JSON file keeps no order."""
    names = list(results.card["must_agree"].get("scorers") or {})
    plain = [entry for metric, entry in results.summary["metrics"].items() if metric not in names and "/" not in metric]
    first = plain[0].get("scorer") if plain else None
    return sorted(names, key=lambda name: name != first)


def _scorer_options(scorers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """NAME.OPTION=VALUE for each that is not the scorer's default; the card holds them all."""
    words = []
    for name, identity in scorers.items():
        _, factory = _known(name)
        parameters = inspect.signature(factory).parameters if factory is not None else {}
        for option, value in (identity.get("options") or {}).items():
            if option not in parameters or _plain(parameters[option].default) != value:
                words.append(f"{name}.{option}={store.to_json(value)}")
    return words


def _known(scorer: str) -> tuple[str, Any]:
    """("reward" or "metric", what makes it); None for one whose plugin is not here."""
    for kind, registry in (("reward", rewards.registry), ("metric", metrics.registry)):
        if scorer in registry:
            return kind, registry.get(scorer)
    return "reward", None


def _plain(value: Any) -> Any:
    """As it comes back from a card: a tuple as a list."""
    return list(value) if isinstance(value, tuple) else value


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
