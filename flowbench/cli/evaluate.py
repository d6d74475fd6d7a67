"""`flowbench eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowbench.cli.options import device_options, error_rate_option, licence_option, plugin_option
from flowbench.cli.output import MOST_UNSCORED, format_option, refuse_unscored, show_tables
from flowbench.errors import ConfigError

if TYPE_CHECKING:
    from flowbench.cli.checkpoints import Checkpoint
    from flowbench.evals import Results
    from flowbench.models import FlowModel


@click.command(name="eval")
@click.option(
    "--ckpt", required=True, metavar="NAME", help="shapes, a run, a checkpoint, a diffusers folder or a hub id."
)
@click.option("--suite", "suites", required=True, metavar="NAME[,NAME]", help="`flowbench list suites` shows them.")
@click.option("--guidance", type=click.FloatRange(0), help="Default: the run's own, or what suits the model. 1: none.")
@click.option("--steps", type=click.IntRange(1), help="Denoising steps. Default: the suite's.")
@click.option(
    "--limit", type=click.IntRange(1), metavar="N", help="Only so many prompts, taken in turns from the tags."
)
@click.option("--out", metavar="FOLDER", help="Where to keep it. Default: the run folder, or runs/eval-NAME.")
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Pictures at a time.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of all pictures.")
@click.option("--label", metavar="TEXT", help="Its name in tables.")
@error_rate_option(default=MOST_UNSCORED, show_default=True)
@format_option
@device_options
@licence_option
@plugin_option
def evaluate(
    ckpt: str, suites: str, guidance: float | None, out: str | None, style: str | None, max_error_rate: float,
    plugins: tuple[str, ...], **settings: Any,
) -> None:  # fmt: skip
    """Evaluate a model on a suite.

    Can be killed and started again: pictures and scores that are there are not made again.
    """
    from flowbench import benchmarks
    from flowbench.cli.checkpoints import find_checkpoint

    names = [benchmarks.find(name.strip()).name for name in suites.split(",") if name.strip()]
    if not names:
        raise ConfigError("--suite names no suite. `flowbench list suites` shows them.")
    device, dtype = settings.pop("device"), settings.pop("dtype")
    checkpoint = find_checkpoint(ckpt)
    from flowbench.models import load_model

    model = load_model(ckpt, device=device or "auto", dtype=dtype or "float32")
    guidance = checkpoint.guidance(model) if guidance is None else guidance
    settings |= {"guidance": guidance, "out": Path(out) if out else checkpoint.out()}
    results = [_evaluated(checkpoint, model, suite, settings) for suite in names]
    _show(results, style)
    for each in results:
        refuse_unscored(each.summary["suite"], each.summary, max_error_rate)


def _evaluated(checkpoint: Checkpoint, model: FlowModel, suite: str, settings: dict[str, Any]) -> Results:
    from flowbench import benchmarks
    from flowbench.cli.progress import evaluation_progress
    from flowbench.evals import load_results

    label = settings["label"] or checkpoint.label(model, settings["guidance"])
    with evaluation_progress(suite) as progress:
        folder = benchmarks.evaluate(model, suite, progress=progress, **{**settings, "label": label})
    return load_results(folder)


def _show(results: list[Results], style: str | None) -> None:
    from flowbench.evals.tables import summary_table

    show_tables([summary_table(each) for each in results], [each.summary for each in results], style=style)
    for each in results:
        click.echo(f"evaluation: {each.folder}", err=True)
