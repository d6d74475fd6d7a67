"""The `flowbench` command: one file per command, imported when it is called or when its own help is shown."""

from __future__ import annotations

import click

from flowbench.cli.group import CommandGroup
from flowbench.version import __version__

COMMANDS = {
    "train": ("flowbench.cli.train:train", "Train a model on a reward."),
    "eval": ("flowbench.cli.evaluate:evaluate", "Evaluate a model on suites."),
    "score": ("flowbench.cli.score:score", "Score pictures that are there already."),
    "compare": ("flowbench.cli.compare:compare", "Compare two evaluations on the same prompts and seeds."),
    "leaderboard": ("flowbench.cli.leaderboard:leaderboard", "Rank evaluations and their gains over the base model."),
    "report": ("flowbench.cli.report:report", "Write a run's report.html, and a gallery of each evaluation."),
    "view": ("flowbench.cli.view:view", "Look at a run's reports and galleries in the browser."),
    "export": ("flowbench.cli.export:export", "Write an evaluation in the format of another program."),
    "leakage": ("flowbench.cli.leakage:leakage", "Show which evaluation prompts a model was trained on."),
    "doctor": ("flowbench.cli.doctor:doctor", "Check that a setup is sound."),
    "list": ("flowbench.cli.catalog:list_names", "List rewards, metrics, objectives, suites, prompts and the like."),
    "show": ("flowbench.cli.catalog:show", "Show what stands behind a name."),
    "assets": ("flowbench.cli.assets:assets", "List, pull, verify, locate and convert weights and prompt files."),
    "cache": ("flowbench.cli.cache:cache", "Show or clear the score cache."),
    "version": ("flowbench.cli.version:version", "Print the versions of flowbench and of what it stands on."),
}
__all__ = ["COMMANDS", "main"]


@click.group(cls=CommandGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="flowbench")
@click.option("--debug", is_flag=True, help="Show the traceback of every error, and the warnings of the libraries.")
def main(debug: bool) -> None:
    """Train, evaluate and rank text-to-image flow models with reward plugins.

    Begin with `flowbench train --reward geneval`: it trains the built-in model in minutes, without a GPU.
    """
    if not debug:
        from flowbench.cli.quiet import quiet_libraries

        quiet_libraries()
