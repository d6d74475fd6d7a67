"""A section for a model card: the numbers with their intervals, the settings they hold for, the command; in front of
it the hub's `model-index`, from which it shows results.

Source: https://github.com/huggingface/hub-docs/blob/main/modelcard.md (model-index).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from flowbench import store
from flowbench.evals.evaluation import PARTS
from flowbench.evals.results import Results
from flowbench.reports.export.places import check_file
from flowbench.reports.tables.cells import DASH
from flowbench.reports.tables.footnotes import kind_of_interval, kind_of_mean
from flowbench.reports.tables.markdown import escaped, fenced
from flowbench.stats.intervals import Interval

_DIRECTIONS = {"higher": "higher is better", "lower": "lower is better"}


def export_model_card(results: Results, out: str | Path, *, overwrite: bool = False) -> Path:
    """The section as a Markdown file, `model-index` in its front matter. Raises ConfigError where `out` is taken."""
    path = check_file(out, overwrite=overwrite)
    front = yaml.safe_dump({"model-index": model_index(results)}, sort_keys=False, allow_unicode=True)
    return store.write_text(path, f"---\n{front}---\n\n{section(results)}")


def model_index(results: Results) -> list[dict[str, Any]]:
    """The metrics that have a number, headline first, as the hub wants them."""
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    suite = results.summary.suite
    measured = []
    for metric in results.metrics:
        found = results.summary.metrics[metric].overall
        if not math.isnan(found.mean):
            bounds = "" if math.isnan(found.low) else f", {_bounds(found)}, {kind_of_interval([found])}"
            measured.append(
                EvalResult(
                    task_type="text-to-image", dataset_type=suite, dataset_name=suite, metric_type=metric,
                    metric_value=found.mean, metric_name=f"{metric}{bounds}",
                )
            )  # fmt: skip
    return eval_results_to_model_index(results.label, measured)


def section(results: Results) -> str:
    """Markdown: a table of the metrics, what the settings were, how to do it again."""
    from flowbench.reports.reproduce import commands

    summary = results.summary
    lines = [
        f"## Evaluation: {escaped(summary.suite)}",
        "",
        f"{escaped(results.label)}: {summary.images} pictures of {summary.prompts} prompts, "
        f"{summary.unscored} of them unscored. Overall is {kind_of_mean(results)}.",
        "",
        "| metric | mean | interval | pictures | |",
        "|---|---:|---|---:|---|",
    ]
    for metric, entry in ((metric, summary.metrics[metric]) for metric in results.metrics):
        found = entry.overall
        headline = " (headline)" if metric == results.headline else ""
        mean = DASH if math.isnan(found.mean) else f"{found.mean:.4f}"
        about = ", ".join(filter(None, (entry.unit, _DIRECTIONS.get(entry.direction, ""))))
        lines.append(f"| {escaped(metric)}{headline} | {mean} | {_bounds(found)} | {found.count} | {escaped(about)} |")
    kind = kind_of_interval(entry.overall for entry in summary.metrics.values())
    lines += ["", f"Interval: {kind}." if kind else "Too few prompts for intervals.", ""]
    not_run = [f"- {escaped(name)} was not run: {escaped(reason)}" for name, reason in results.not_run.items()]
    lines += [*not_run, ""] if not_run else []
    lines += ["### Settings", "", "| | |", "|---|---|"]
    for part in PARTS:
        for name, value in getattr(results.card, part).items():  # what is a dictionary itself is written as JSON
            text = value if isinstance(value, str) and value else store.to_json(value)
            lines.append(f"| {part}: {escaped(name)} | {escaped(text)} |")
    lines += ["", "### Command", "", *fenced(commands([results]))]
    return "\n".join(lines) + "\n"


def _bounds(found: Interval) -> str:
    return DASH if math.isnan(found.low) else f"{found.low:.4f} to {found.high:.4f}"
