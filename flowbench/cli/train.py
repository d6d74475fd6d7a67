"""`flowbench train`."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowbench import bounds
from flowbench.children import LAUNCHER
from flowbench.cli.group import INTERRUPTED
from flowbench.cli.machine import check_processes, end_with_launcher
from flowbench.cli.options import (
    MINUTES,
    SEED,
    count,
    device_options,
    error_rate_option,
    licence_option,
    plugin_option,
)
from flowbench.cli.train_processes import (
    assert_world,
    fitting_processes,
    is_main,
    launch,
    launched,
    resumed_processes,
)
from flowbench.errors import ConfigError
from flowbench.foreign_code import diverted
from flowbench.terminal import say, show_text

if TYPE_CHECKING:
    from flowbench.config import TrainConfig


@click.command()
@click.argument("arguments", nargs=-1, metavar="[RECIPE|FILE.yaml] [KEY=VALUE]...")
@click.option("--model", metavar="NAME", help="shapes, a hub id or a diffusers folder. Its own recipe is the default.")
@click.option(
    "--reward", "rewards", multiple=True, metavar="NAME[=WEIGHT]", help="What to maximise. Can be repeated, or a,b=0.1."
)
@click.option("--objective", metavar="NAME", help="What is learned from the rewards (`flowbench list objectives`).")
@click.option(
    "--data", metavar="FILE", help="Learn from pictures in a table (prompt, chosen, rejected; or prompt, image)."
)
@click.option("--prompts", metavar="NAME", help="A prompt set, or a .txt, .csv or .jsonl file.")
@click.option("--steps", type=count(bounds.STEPS), help="Training steps.")
@click.option("--minutes", type=MINUTES, metavar="N", help="Stop after N minutes, at a checkpoint to go on from.")
@click.option("--seed", type=SEED, help="Seed of every random draw.")
@click.option("--out", metavar="FOLDER", help="The run folder.")
@click.option("--resume", metavar="FOLDER", help="Go on with the run in this folder, with its own settings.")
@click.option(
    "--processes", type=count(bounds.PROCESSES), metavar="N",
    help="Train on N processes. Default: one, but up to one per core for the built-in model on a CPU.",
)  # fmt: skip
@error_rate_option()
@click.option("--print-config", is_flag=True, help="Print the resolved configuration and do nothing else.")
@device_options
@licence_option
@plugin_option
def train(
    arguments: tuple[str, ...],
    rewards: tuple[str, ...],
    resume: str | None,
    processes: int | None,
    minutes: float | None,
    print_config: bool,
    plugins: tuple[str, ...],
    **flags: Any,
) -> None:
    """Train a model on a reward.

    Without a recipe, the model's own is taken: `flowbench train --reward geneval` trains the built-in model.
    Any setting can follow as KEY=VALUE, for example optimizer.lr=1e-4 (docs/configuration.md lists them).
    """
    config = _config(arguments, rewards, resume, flags)
    if print_config:
        from flowbench.config import to_yaml

        show_text(to_yaml(config))
    elif launched():
        end_with_launcher()
        _run(config, resume is not None, processes or int(os.environ["WORLD_SIZE"]), minutes)
    else:
        from flowbench.trainer.runs import check_folder

        processes = processes or (resumed_processes(resume) if resume else None) or fitting_processes(config)
        if processes > 1:
            from flowbench.config import check_share

            check_processes(processes)
            check_share(config, processes)
            check_folder(Path(config.out), config, resume=resume is not None)  # all processes would say so
            if config.data is not None:
                from flowbench.prompts.examples import examples_of

                examples_of(config)
            launch(click.get_current_context().obj, processes)
        else:
            _run(config, resume is not None, 1, minutes)


def _config(
    arguments: Sequence[str], rewards: Sequence[str], resume: str | None, flags: Mapping[str, Any]
) -> TrainConfig:
    from flowbench.cli.recipes import resolve, resume_config, split_arguments

    recipe, overrides = split_arguments(arguments)
    if resume is None:
        return resolve(recipe, overrides, rewards=rewards, flags=flags, say=_say_once)
    settings = {"--reward": rewards or None} | {
        f"--{name.replace('_', '-')}": value for name, value in flags.items() if name != "steps"
    }
    refused = ([recipe] if recipe else []) + [name for name, value in settings.items() if value is not None]
    if refused:
        raise ConfigError(f"--resume goes on with the run's own settings: leave out {refused[0]}.")
    steps = flags["steps"]
    return resume_config(resume, overrides if steps is None else [f"steps={steps}", *overrides])


def _say_once(line: str) -> None:
    """On stderr, by the first process that reads the command line."""
    if is_main() and LAUNCHER not in os.environ:
        say(line, err=True)


def _run(config: TrainConfig, resume: bool, processes: int, minutes: float | None) -> None:
    from flowbench.checkpoints import steps_of
    from flowbench.cli.dev_evaluation import dev_evaluation
    from flowbench.layout import RunFolder
    from flowbench.reports import training_report
    from flowbench.trainer import train as run_training
    from flowbench.trainer.interrupt import Stopped

    assert_world(config.model.device, processes)
    began = time.monotonic()
    try:
        with diverted():
            folder = run_training(config, evaluate=dev_evaluation(config), resume=resume, minutes=minutes)
    except Stopped as stopped:
        if is_main():
            with suppress(OSError):  # Ctrl-C has ended `| tee` as well
                say(f"stopped after step {stopped.step}; go on with: {_resuming(config.out)}", err=True)
        raise
    except KeyboardInterrupt:
        if is_main():
            with suppress(OSError):
                say("interrupted", err=True)
        os._exit(INTERRUPTED)  # an ordinary exit would wait for the thread of a reward that hangs
    if is_main():
        commands = next_commands(folder, config)
        report = training_report(folder, commands=commands)
        lines = [f"run: {folder}", f"report: {report}", *["next:"] * bool(commands)]
        for line in [*lines, *(f"  {command}" for command in commands)]:
            say(line)
        done = max(steps_of(RunFolder(folder).log))
        if minutes is not None and done < config.steps and time.monotonic() - began >= 60 * minutes:
            over = f"the {minutes:g} minutes are over after step {done} of {config.steps}"
            say(f"{over}; go on with: {_resuming(config.out)}", err=True)


def _resuming(folder: str) -> str:
    """The command that goes on with a run, with its plugins and accepted licences, which no configuration may hold."""
    from flowbench.rewards.licences import accepted_licences

    plugins = click.get_current_context().params["plugins"]
    words = ["train", *(word for path in plugins for word in ("--plugin", str(path)))]
    words += [word for name in accepted_licences() for word in ("--accept-licence", name)] + ["--resume", folder]
    own_torchrun = launched() and LAUNCHER not in os.environ
    return f"{'torchrun ... -m flowbench' if own_torchrun else 'flowbench'} {shlex.join(words)}"


def next_commands(run: Path, config: TrainConfig) -> list[str]:
    """The commands that measure a run against its base model; [] when no suite is made of its prompts."""
    from flowbench.cli.dev_evaluation import suite_of

    suite = suite_of(config.prompts.name, "test")
    if suite is None:
        return []
    name, base = shlex.quote(str(run)), shlex.quote(f"{run}-base")
    return [
        f"flowbench eval --ckpt {name} --suite {suite.name}",
        f"flowbench eval --ckpt {shlex.quote(config.model.name)} --suite {suite.name} --out {base}",
        f"flowbench leaderboard {base} {name} --suite {suite.name}",
        f"flowbench report {name} --base {base}",
    ]
