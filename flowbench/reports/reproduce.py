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
from flowbench.layout import EvaluationFolder, RunFolder
from flowbench.solver_names import solver_of
from flowbench.stats.methods import DEFAULT


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
    base = Path(f"{run.resolve()}-base")
    report = f"flowbench report {shlex.quote(_shown(run))} --base {shlex.quote(_shown(base))}"
    return [*dict.fromkeys(_evaluate(each, base) for each in trained), report]


def _evaluate(results: Results, base: Path | None = None) -> str:
    """`--limit` stands there always: with the number of all prompts it changes nothing. With `base`: the same of the
    model without its adapter, into that folder."""
    card, run = results.card, _run_of(results)
    scorers = [each.name for each in results.summary.scorers if each.ran]  # the parts of the first go by plain names
    if card.is_of_scored:
        named = {kind: [name for name in scorers if _known(name)[0] == kind] for kind in ("reward", "metric")}
        kinds = {f"--{kind}": ",".join(names) or None for kind, names in named.items()}
        return _line("score", ["PICTURES"], {**kinds, "--vocabulary": card.noted.get("vocabulary")}, results)
    if card.is_of_existing:  # the card knows their contents, not their folder
        subject, dtype = ["--images", "PICTURES"], None
    else:
        is_in_run = base is None and card.subject["adapter"] != "none" and run.checkpoints.is_dir()
        source = card.subject.get("source") or card.subject["model"]
        subject = ["--ckpt", _shown(run.path) if is_in_run else str(source)]
        dtype = str(card.noted["dtype"]).removeprefix("torch.")
    options = {
        "--suite": card.must_agree["suite"],
        "--guidance": card.declared.get("guidance"),
        "--steps": card.declared.get("steps"),
        "--solver": solver_of(card.declared.get("sampler")),
        "--seed": card.must_agree["seed"],
        "--limit": card.must_agree["num_prompts"],
        "--images-per-prompt": card.must_agree["images_per_prompt"],
        "--metric": ",".join(scorers) or None,
        "--dtype": dtype,
    }
    return _line("eval", subject, options, results, base)


def _line(
    command: str, subject: Sequence[str], options: Mapping[str, object], results: Results, base: Path | None = None
) -> str:
    """The command with its options (None: not given), those that all have, and those of the scorers."""
    noted = results.card.noted
    of_sets = [entry.scorer for entry in results.summary.metrics.values() if entry.level == "set"]
    is_beside_others = any(getattr(_known(name)[1], "compares", True) for name in of_sets)
    every = {
        **options,
        "--reference": "REFERENCE" if is_beside_others else None,
        "--interval": noted["interval"] if noted["interval"] != DEFAULT else None,
        "--batch-size": noted.get("batch_size"),
        "--out": _shown(base or _run_of(results).path),
    }
    words: list[object] = [*subject]
    for name, value in every.items():
        if value is not None:
            words += [name, repr(value).removesuffix(".0") if isinstance(value, float) else value]
    words += _scorer_options(results.card.scorers)
    return " ".join(["flowbench", command, *(shlex.quote(str(word)) for word in words)])


def _scorer_options(scorers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """NAME.OPTION=VALUE for each that is not the scorer's default; the card holds them all."""
    words = []
    for name, identity in scorers.items():
        _, factory = _known(name)
        parameters = inspect.signature(factory).parameters if factory is not None else {}
        for option, value in (identity.get("options") or {}).items():
            default = parameters[option].default if option in parameters else inspect.Parameter.empty
            if value != (list(default) if isinstance(default, tuple) else default):  # as it comes back from a card
                words.append(f"{name}.{option}={store.to_json(value)}")
    return words


def _known(scorer: str) -> tuple[str, Any]:
    """("reward" or "metric", what makes it); None for one whose plugin is not here."""
    for kind, registry in (("reward", rewards.registry), ("metric", metrics.registry)):
        if scorer in registry:
            return kind, registry.get(scorer)
    return "reward", None


def _run_of(results: Results) -> RunFolder:
    """The run folder of `<run>/eval/<suite>-<key>`."""
    folder = results.folder.resolve()
    return EvaluationFolder(folder).run or RunFolder(folder)


def _shown(path: Path) -> str:
    """As one would type it: relative to where one stands when it lies below."""
    relative = os.path.relpath(path.resolve())
    return str(path.resolve()) if relative.startswith("..") else relative
