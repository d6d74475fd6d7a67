"""The joint of training and evaluation, which do not know each other: figures of the dev split during a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from flowbench.errors import ConfigError
from flowbench.registry import did_you_mean

if TYPE_CHECKING:
    from flowbench.benchmarks import Suite
    from flowbench.config import TrainConfig
    from flowbench.models import FlowModel


def suite_of(prompt_set: str, split: str) -> Suite | None:
    """The first registered suite (by name) that measures this split of the prompt set, broken plugins aside."""
    from flowbench import benchmarks

    for name in benchmarks.registry:
        with suppress(ConfigError):
            suite = benchmarks.find(name)
            if (suite.prompt_set, suite.split) == (prompt_set, split):
                return suite
    return None


def dev_evaluation(config: TrainConfig) -> Callable[[FlowModel], dict[str, float]] | None:
    """The trainer's `evaluate`: headline and companions on the dev split of the run's own prompts, at its guidance.

    None without `eval_every`. The pictures go to `<run>/dev/`, away from the evaluations that one compares. Raises
    ConfigError when no suite measures that split, or `keep_best` is none of its figures of which more is better.
    """
    if config.eval_every is None:
        return None
    suite = suite_of(config.prompts.name, "dev")
    if suite is None:
        raise ConfigError(
            f"eval_every is {config.eval_every}, but no suite measures the dev split of prompts.name "
            f"'{config.prompts.name}'. Leave eval_every out, or register such a suite in a --plugin file."
        )

    figures = (suite.headline, *suite.also_show)
    if config.keep_best is not None:
        _check_figure(config.keep_best, figures, suite)

    def evaluate(model: FlowModel) -> dict[str, float]:
        from flowbench import benchmarks
        from flowbench.evals import load_results

        folder = benchmarks.evaluate(model, suite, out=Path(config.out) / "dev", guidance=config.rollout.guidance)
        results = load_results(folder)
        return {metric: results.mean(metric) for metric in figures}

    return evaluate


def _check_figure(name: str, figures: Sequence[str], suite: Suite) -> None:
    from flowbench.benchmarks import scorers

    if name not in figures:
        raise ConfigError(
            f"keep_best is '{name}', which is no figure of the dev evaluation.{did_you_mean(name, figures)} Known: "
            f"{', '.join(figures)}."
        )
    scorer = scorers.find(suite.scorer_of(name))
    direction = (
        scorer.card.direction if name == scorer.name else scorer.part(name.removeprefix(f"{scorer.name}/")).direction
    )
    if direction != "higher":
        raise ConfigError(f"keep_best is '{name}', of which more is not better. Name a figure of which it is.")
