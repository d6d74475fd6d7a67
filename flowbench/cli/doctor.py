"""`flowbench doctor`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowbench.cli.options import SEED, device_options, licence_option, plugin_option
from flowbench.cli.output import format_option, show_tables
from flowbench.errors import LicenceError, RewardError
from flowbench.foreign_code import diverted
from flowbench.terminal import say, show_text

if TYPE_CHECKING:
    from flowbench.config import TrainConfig
    from flowbench.rewards.golden import Finding


@click.group()
def doctor() -> None:
    """Check that a setup is sound."""


@doctor.command()
@click.argument("arguments", nargs=-1, metavar="[RECIPE|FILE.yaml] [KEY=VALUE]...")
@click.option("--model", metavar="NAME", help="shapes, a hub id or a diffusers folder. Its own recipe is the default.")
@click.option("--objective", metavar="NAME", help="What is learned from the rewards (`flowbench list objectives`).")
@click.option("--prompts", metavar="NAME", help="A prompt set, or a .txt, .csv or .jsonl file.")
@click.option("--seed", type=SEED, help="Seed of every random draw.")
@device_options
@plugin_option
def policy(arguments: tuple[str, ...], plugins: tuple[str, ...], **flags: Any) -> None:
    """Check that the policy that learns is the policy that sampled, to the bit.

    Every training run does this before its first update. A model, device or dtype that fails would train on noise.
    """
    from flowbench.cli.recipes import resolve, split_arguments

    recipe, overrides = split_arguments(arguments)
    config = resolve(recipe, overrides, rewards=(), flags=flags, say=partial(say, err=True))
    show_text(_checked(config) + "\n")


@doctor.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--promises", is_flag=True, help="Check what each reward promises as well (flowbench.testing).")
@click.option("--device", default="auto", show_default=True, metavar="NAME", help="Where the networks run.")
@licence_option
@plugin_option
def rewards(names: tuple[str, ...], promises: bool, device: str, plugins: tuple[str, ...]) -> None:
    """Check rewards on pictures whose right answer is known.

    NAME is a reward, or `shapes`, the built-in detector; without one, all are checked. What is not installed, or has no
    weights here, is listed and not counted. Fails when one check fails. A reward of a plugin has promises to keep
    instead of golden checks.
    """
    from flowbench.rewards.golden import checks

    everything = dict.fromkeys([*checks.names(), *_of_plugins()])
    findings = []
    for name in names or everything:
        with diverted():
            found = [*checks.check(name, device), *(_promises(name) if promises or name in _of_plugins() else ())]
        for finding in found:
            state = {True: "ok", False: "FAILED", None: "not run"}[finding.passed]
            say(f"{state:<8} {finding.reward:<20} {finding.check}: {finding.detail}")
            findings.append(finding)
    passed = [finding.passed for finding in findings]
    failed = [finding for finding in findings if finding.passed is False]
    say("{} passed, {} failed, {} not run".format(*(passed.count(state) for state in (True, False, None))))
    if failed:
        raise RewardError(
            f"{len(failed)} of {len(findings)} checks failed, first '{failed[0].reward}': {failed[0].check}. Do not "
            "use a reward that fails: verify its weights (flowbench assets verify), or mend what the line above says."
        )
    if names and all(finding.passed is None for finding in findings):
        raise RewardError(f"nothing could be checked: {findings[0].detail}.")


@doctor.command()
@click.argument("folder", metavar="RUN")
@click.option(
    "--evaluations",
    multiple=True,
    metavar="FOLDER",
    help="Where else evaluations of its checkpoints lie. Can be repeated.",
)
@click.option("--suite", metavar="NAME", help="Of this suite alone.")
@click.option("--gold", metavar="METRIC", help="The one metric whose fall counts. Default: any that is shown.")
@format_option
def run(folder: str, evaluations: tuple[str, ...], suite: str | None, gold: str | None, style: str | None) -> None:
    """Say when and how a reward was hacked.

    Reads the evaluations of a run's checkpoints, or of a folder of adapters whose names hold their training steps:
    whether pictures became alike, and whether a metric fell while the headline did not. Nothing is evaluated here.
    """
    from flowbench.cli.checkpoint_evaluations import courses_of
    from flowbench.reports.tables.course import course_data, course_table

    found = courses_of(Path(folder), evaluations, suite)
    each = [(course, course.signs(gold)) for course in found.courses]
    tables = [course_table(course, signs, folder, found.left_out) for course, signs in each]
    data = {"courses": [course_data(course, signs) for course, signs in each], "left_out": dict(found.left_out)}
    show_tables(tables, data, style=style)


def _of_plugins() -> list[str]:
    from flowbench.rewards import plugin_code, registry

    return [name for name in registry.names() if plugin_code(name)]


def _promises(name: str) -> list[Finding]:
    from flowbench.rewards.golden import Finding
    from flowbench.testing import check_reward

    try:
        check_reward(name)
    except AssertionError as error:
        return [Finding(name, "promises", False, str(error).partition("\n")[2].replace("\n", "; "))]
    except LicenceError as error:
        return [Finding(name, "promises", None, str(error))]
    except Exception as error:
        return [Finding(name, "promises", False, " ".join(str(error).split()) or type(error).__name__)]
    return [Finding(name, "promises", True, "length, order, determinism, batch size, bad input")]


def _checked(config: TrainConfig) -> str:
    """The check on the run's first group and fresh adapter, as `flowbench train` would do it, in words."""
    from flowbench import prompts
    from flowbench.trainer import check_policy, objectives
    from flowbench.trainer.first_policy import first_policy, policy_of
    from flowbench.trainer.groups import GroupSampler
    from flowbench.trainer.start import read_start

    rollout = config.rollout
    sampler = GroupSampler(prompts.load(config.prompts.name, "train"), rollout, config.prompts.tag_weights, config.seed)
    model = first_policy(config, read_start(config, resume=False), config.model.device)
    objective = objectives.build(config.objective, rollout)
    check = check_policy(policy_of(config, model, objective), objective, sampler.at(0)[: rollout.bundle])
    error = check.reference_error
    why = "it begins from an adapter" if config.adapter.reference_guidance is None else "it has a guidance of its own"
    distance = f"not 0, for {why}" if error is None else f"{error:g}"
    return "\n".join(
        [
            f"model {config.model.name} ({model.device}, {config.model.dtype}), objective {config.objective.name}, "
            f"{rollout.kind} steps, guidance {rollout.guidance:g}, batch of {rollout.micro_batch}",
            f"points compared: {check.points}, largest {objective.compares}: {check.error:g}",
            f"largest |velocity - reference velocity|: {distance}",
            f"adapter tensors with a gradient: {check.with_gradient} of {check.parameters} "
            "(a fresh adapter's A matrices get none until B has moved)",
            "the policy is sound",
        ]
    )
