"""`flowbench doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flowbench.cli.options import device_options, plugin_option

if TYPE_CHECKING:
    from flowbench.config import TrainConfig
    from flowbench.trainer.doctor import PolicyCheck


@click.group()
def doctor() -> None:
    """Check that a setup is sound."""


@doctor.command()
@click.argument("arguments", nargs=-1, metavar="[RECIPE|FILE.yaml] [KEY=VALUE]...")
@click.option("--model", metavar="NAME", help="shapes, a hub id or a diffusers folder. Its own recipe is the default.")
@click.option("--prompts", metavar="NAME", help="A prompt set, or a .txt, .csv or .jsonl file.")
@click.option("--seed", type=click.IntRange(0), help="Seed of every random draw.")
@device_options
@plugin_option
def policy(arguments: tuple[str, ...], plugins: tuple[str, ...], **flags: Any) -> None:
    """Check that replaying a rollout gives back its own log-probs, to the bit.

    Every training run does this before its first update. A model, device or dtype that fails would train on noise.
    """
    from flowbench.cli.recipes import resolve, split_arguments

    recipe, overrides = split_arguments(arguments)
    config = resolve(recipe, overrides, rewards=(), flags=flags)
    check, device = _check(config)
    click.echo(_told(check, device, config))


def _check(config: TrainConfig) -> tuple[PolicyCheck, str]:
    """The check on the run's first group and fresh adapter, as `flowbench train` would do it; and the device."""
    from flowbench import prompts
    from flowbench.trainer import check_policy
    from flowbench.trainer.groups import GroupSampler
    from flowbench.trainer.training import fresh_policy

    training = prompts.load(config.prompts.name, "train")
    sampler = GroupSampler(training, config.rollout, config.prompts.tag_weights, config.seed)
    model = fresh_policy(config, config.model.device)
    return check_policy(model, sampler.at(0)[0], config.rollout), str(model.device)


def _told(check: PolicyCheck, device: str, config: TrainConfig) -> str:
    rollout = config.rollout
    return "\n".join(
        [
            f"model {config.model.name} ({device}, {config.model.dtype}), {rollout.kind} steps, "
            f"guidance {rollout.guidance:g}, batch of {rollout.micro_batch}",
            f"replayed transitions: {check.transitions}, largest |ratio - 1|: {check.ratio_error:g}",
            f"largest |velocity - reference velocity|: {check.reference_error:g}",
            f"adapter tensors with a gradient: {check.with_gradient} of {check.parameters} "
            "(a fresh adapter's A matrices get none until B has moved)",
            "the policy is sound",
        ]
    )
