"""A section for a model card: the numbers with their intervals, the settings they hold for, the command; in front of
it the hub's `model-index`, from which it shows results.

Source: https://github.com/huggingface/hub-docs/blob/main/modelcard.md (model-index).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from flowbench import store
from flowbench.evals.results import Results
from flowbench.reports.export.places import check_file
from flowbench.reports.tables.footnotes import kind_of_mean

_OF_SETTINGS = ("subject", "must_agree", "declared", "noted")
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

    suite = str(results.summary["suite"])
    measured = [
        EvalResult(
            task_type="text-to-image", dataset_type=suite, dataset_name=suite, metric_type=metric,
            metric_value=interval["mean"], metric_name=_with_interval(metric, interval),
        )
        for metric in results.metrics
        if (interval := results.interval(metric)).get("mean") is not None
    ]  # fmt: skip
    return eval_results_to_model_index(results.label, measured)


def section(results: Results) -> str:
    """Markdown: a table of the metrics, what the settings were, how to do it again."""
    from flowbench.reports.reproduce import commands

    summary = results.summary
    lines = [
        f"## Evaluation: {_cell(summary['suite'])}",
        "",
        f"{_cell(results.label)}: {summary['images']} pictures of {summary['prompts']} prompts, "
        f"{summary['unscored']} of them unscored. Overall is {kind_of_mean(results)}.",
        "",
        "| metric | mean | 95 % interval | pictures | |",
        "|---|---:|---|---:|---|",
        *(_metric_line(results, metric) for metric in results.metrics),
        "",
        *_not_run(results),
        "### Settings",
        "",
        "| | |",
        "|---|---|",
        *(line for part in _OF_SETTINGS for line in _settings(part, results.card.get(part, {}))),
        "",
        "### Command",
        "",
        "```",
        *commands([results]),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _metric_line(results: Results, metric: str) -> str:
    interval, known = results.interval(metric), results.summary["metrics"].get(metric, {})
    low, high = interval.get("low"), interval.get("high")
    between = "–" if low is None or high is None else f"{low:.4f} to {high:.4f}"
    mean = "–" if interval.get("mean") is None else f"{interval['mean']:.4f}"
    about = ", ".join(filter(None, (known.get("unit", ""), _DIRECTIONS.get(known.get("direction", ""), ""))))
    headline = " (headline)" if metric == results.headline else ""
    return f"| {_cell(metric)}{headline} | {mean} | {between} | {interval.get('count', 0)} | {_cell(about)} |"


def _not_run(results: Results) -> list[str]:
    lines = [f"- {_cell(name)} was not run: {_cell(reason)}" for name, reason in results.not_run.items()]
    return [*lines, ""] if lines else []


def _settings(part: str, fields: Mapping[str, Any]) -> list[str]:
    """One row for each setting; what is a dictionary itself is written as JSON."""
    rows = []
    for name, value in fields.items():
        text = value if isinstance(value, str) and value else store.to_json(value)
        rows.append(f"| {part}: {_cell(name)} | {_cell(text)} |")
    return rows


def _with_interval(metric: str, interval: Mapping[str, Any]) -> str:
    low, high = interval.get("low"), interval.get("high")
    return metric if low is None or high is None else f"{metric} (95 % interval {low:.4f} to {high:.4f})"


def _cell(text: Any) -> str:
    """Text that stays in its cell and is no markup."""
    return str(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
