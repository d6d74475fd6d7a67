"""`flowbench export`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flowbench.cli.options import plugin_option
from flowbench.errors import ConfigError
from flowbench.terminal import say

if TYPE_CHECKING:
    from flowbench.evals import Results
    from flowbench.evals.evaluation import Record
    from flowbench.reports.export import Placed
    from flowbench.types import Prompt

FORMATS = ("geneval", "jsonl", "parquet", "datasets", "model-card")


@click.command()
@click.argument("folder")
@click.option("--format", "style", type=click.Choice(FORMATS), required=True, help="What to write.")
@click.option("--out", required=True, metavar="PATH", help="The folder (geneval, datasets) or file to write.")
@click.option("--suite", metavar="NAME", help="Which suite, when FOLDER holds evaluations of several.")
@click.option("--prompts", metavar="FILE", help="For geneval: the prompts, where they were not the suite's own.")
@click.option("--overwrite", is_flag=True, help="Replace a file, or the folder of an earlier export.")
@plugin_option
def export(
    folder: str, style: str, out: str, suite: str | None, prompts: str | None, overwrite: bool,
    plugins: tuple[str, ...],
) -> None:  # fmt: skip
    """Write an evaluation in the format of another program.

    FOLDER is an evaluation folder, or a run folder that holds one evaluation.
    """
    from flowbench.evals.results import find_one
    from flowbench.reports import export as formats

    results = find_one(folder, suite)
    if prompts is not None and style != "geneval":
        raise ConfigError("--prompts is for --format geneval: the other formats hold no metadata of prompts.")
    if style == "geneval":
        beside = partial(_write_results, Path(out))
        path = formats.export_geneval(results, _prompts(results, prompts), out, overwrite=overwrite, beside=beside)
    else:
        write: dict[str, Callable[..., Path]] = {
            "jsonl": formats.export_jsonl,
            "parquet": formats.export_parquet,
            "datasets": formats.export_datasets,
            "model-card": formats.export_model_card,
        }
        path = write[style](results, out, overwrite=overwrite)
    say(f"wrote {path}")


def _prompts(results: Results, file: str | None) -> list[Prompt]:
    """All prompts of the set that was evaluated. Raises ConfigError when they are not those in the settings card."""
    from flowbench import benchmarks, prompts

    if file is not None:
        every = prompts.load(file, "test")
    else:
        suite = benchmarks.find(results.summary.suite)
        every = prompts.load(suite.prompt_set, suite.split)
    by_id = {prompt.id: prompt for prompt in every}
    used = list(dict.fromkeys(record.prompt_id for record in results.records))
    if any(each not in by_id for each in used) or (
        prompts.prompts_digest(by_id[each] for each in used) != results.card.must_agree["prompts"]
    ):
        raise ConfigError(
            f"{results.folder} was made on other prompts than {file or results.summary.suite} holds. "
            "Give the file that it was made on: --prompts FILE."
        )
    return every


def _write_results(out: Path, folder: Path, placed: Sequence[Placed]) -> None:
    """GenEval's results.jsonl in the export, where a GenEval reward was among the scorers."""
    from flowbench import store
    from flowbench.benchmarks import geneval_results
    from flowbench.benchmarks.existing import ExistingPicture
    from flowbench.layout import EvaluationFolder

    given = [ExistingPicture(each.prompt, each.record.index, out / each.name, each.name) for each in placed]
    judged = {each.record.key: _judged(each.record) for each in placed}
    if text := "".join(geneval_results.lines(given, judged)):
        store.write_text(EvaluationFolder(folder).geneval_results, text)


def _judged(record: Record) -> Record:
    """The record as GenEval's reward alone would have written it: it may be one of several scorers."""
    for name, details in record.details_by.items():
        if "objects" in details and "official" not in record.parts:
            parts = {part.removeprefix(f"{name}/"): value for part, value in record.parts.items()}
            note = record.notes.get(name, "")
            return replace(record, value=record.parts[name], parts=parts, note=note, details=details)
    return record
