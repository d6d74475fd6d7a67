"""`flowbench leakage`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowbench.cli.options import Number, count, plugin_option
from flowbench.cli.output import format_option, show_tables
from flowbench.errors import ConfigError
from flowbench.layout import RunFolder

if TYPE_CHECKING:
    from flowbench.prompts.leakage import Overlap
    from flowbench.prompts.near_duplicates import Match
    from flowbench.reports.tables.evaluations import Table
    from flowbench.types import Prompt


@dataclass(frozen=True)
class Side:
    """Training or evaluation prompts, and what they are called."""

    name: str
    prompts: list[Prompt]


@click.command()
@click.argument("training")
@click.argument("evaluation")
@click.option("--least", type=Number(0, 1, min_open=True), default=0.5, show_default=True, metavar="SHARE",
              help="Similarity from which on two prompts are near.")  # fmt: skip
@click.option("--examples", type=count(least=0), default=5, show_default=True, metavar="N",
              help="How many pairs of prompts of each kind to show.")  # fmt: skip
@click.option("--out", metavar="FILE", help="Write it to a file, as Markdown unless --format says otherwise.")
@format_option
@plugin_option
def leakage(
    training: str, evaluation: str, least: float, examples: int, out: str | None, style: str | None,
    plugins: tuple[str, ...],
) -> None:  # fmt: skip
    """Show which evaluation prompts a model was trained on.

    TRAINING is a prompt set (its split train, or NAME:SPLIT), a file (.txt, .csv, .jsonl) or the folder of a training
    run. EVALUATION is a suite (or its .yaml), a prompt set (its split test, or NAME:SPLIT) or a file.
    """
    from flowbench import benchmarks, prompts
    from flowbench.prompts.near_duplicates import KINDS, find_matches
    from flowbench.reports.tables.evaluations import Table

    if RunFolder(Path(training)).is_training:
        from flowbench.trainer.runs import stored_config

        source = stored_config(training, any_objective=True).prompts.name
        ours = Side(f"{training} ({source})", prompts.load(source, "train"))
    else:
        ours = _side(training, "train")
    if evaluation in benchmarks.registry or Path(evaluation).suffix.lower() in (".yaml", ".yml"):
        found = benchmarks.find(evaluation)
        theirs = Side(f"suite {evaluation}", prompts.load(found.prompt_set, found.split))
    else:
        theirs = _side(evaluation, "test")
    matches = find_matches(ours.prompts, theirs.prompts, least=least)
    slots = _slots(ours, theirs)
    tables = [_text_table(ours, theirs, matches, least, templated=bool(slots))]
    tables += [_slot_table(slots)] * bool(slots)
    if matches and examples:
        shown = [match for kind in KINDS for match in [each for each in matches if each.kind == kind][:examples]]
        pairs = tuple(
            (each.kind, f"{each.share:.2f}", _cut(each.evaluated.text), _cut(each.trained.text)) for each in shown
        )
        title = f"{len(shown)} of {len(matches)} pairs" if len(shown) < len(matches) else "all pairs"
        tables.append(Table(title, ("kind", "similarity", "evaluation prompt", "training prompt"), pairs))
    show_tables(tables, _data(ours, theirs, matches, slots), style=style, out=out)


def _side(name: str, split: str) -> Side:
    """NAME, NAME:SPLIT or a file."""
    from flowbench import prompts
    from flowbench.prompts.files import looks_like_file

    if looks_like_file(name):
        return Side(name, prompts.load(name, split))
    base, _, named = name.partition(":")
    return Side(f"{base}:{named or split}", prompts.load(base, named or split))


def _slots(ours: Side, theirs: Side) -> list[Overlap]:
    """The overlap by slot; [] for evaluation prompts without a template."""
    from flowbench.prompts.leakage import leakage

    if not any(prompt.metadata.get("include") for prompt in theirs.prompts):
        return []
    try:
        return [row for row in leakage(ours.prompts, theirs.prompts) if row.slot != "text"]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{ours.name} or {theirs.name}: the `include` of a prompt is not as GenEval writes it. "
            'Write a list of objects like {"class": "circle", "count": 1}, or leave it out.'
        ) from error


def _tags(side: Side) -> list[str]:
    return list(dict.fromkeys(prompt.tag for prompt in side.prompts if prompt.tag is not None))


def _counts(side: Side, matches: Sequence[Match], tag: str | None) -> tuple[int, dict[str, int]]:
    """Prompts of the tag (None: all), and how many of them match in each way."""
    from flowbench.prompts.near_duplicates import KINDS

    chosen = [match for match in matches if tag is None or match.evaluated.tag == tag]
    number = sum(tag is None or prompt.tag == tag for prompt in side.prompts)
    return number, {kind: sum(match.kind == kind for match in chosen) for kind in KINDS}


def _text_table(ours: Side, theirs: Side, matches: Sequence[Match], least: float, *, templated: bool) -> Table:
    from flowbench.prompts.near_duplicates import KINDS
    from flowbench.reports.tables.evaluations import Table

    rows = []
    for tag in (None, *_tags(theirs)):
        number, counts = _counts(theirs, matches, tag)
        rows.append((tag or "all", str(number), *map(str, counts.values())))
    notes = [
        f"{len(ours.prompts)} training prompts. Each evaluation prompt is counted once, in the first column that holds."
    ]
    notes += [f"{kind}: {words}{f' (similarity {least:g} or more)' if kind == 'near' else ''}."
              for kind, words in KINDS.items()]  # fmt: skip
    notes += ["Prompts of one template are near one another: the table by slot says more of them."] * templated
    return Table(f"{theirs.name} among {ours.name}", ("tag", "prompts", *KINDS), tuple(rows), tuple(notes))


def _slot_table(slots: Sequence[Overlap]) -> Table:
    from flowbench.reports.tables.evaluations import DASH, Table

    names = list(dict.fromkeys(row.slot for row in slots))
    tags = list(dict.fromkeys(row.tag for row in slots))
    cells = {(row.tag, row.slot): f"{row.shared} of {row.evaluated}" for row in slots}
    rows = tuple((tag or "all", *(cells.get((tag, name), DASH) for name in names)) for tag in tags)
    notes = (
        "Of the different values that a slot takes among the evaluation prompts, how many occur in training.",
        "content: the same picture is asked for, whichever object is named first.",
    )
    return Table("by slot of the template", ("tag", *names), rows, notes)


def _cut(text: str, most: int = 70) -> str:
    """A table's cell; JSON holds the whole."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _data(ours: Side, theirs: Side, matches: Sequence[Match], slots: Sequence[Overlap]) -> dict[str, Any]:
    by_tag = {tag or "all": _counts(theirs, matches, tag) for tag in (None, *_tags(theirs))}
    return {
        "training": {"name": ours.name, "prompts": len(ours.prompts)},
        "evaluation": {"name": theirs.name, "prompts": len(theirs.prompts)},
        "text": {tag: {"prompts": number, **counts} for tag, (number, counts) in by_tag.items()},
        "slots": [
            {"tag": row.tag, "slot": row.slot, "evaluated": row.evaluated, "shared": row.shared} for row in slots
        ],
        "pairs": [
            {
                "kind": match.kind,
                "similarity": match.share,
                "evaluation": {"id": match.evaluated.id, "text": match.evaluated.text},
                "training": {"id": match.trained.id, "text": match.trained.text},
            }
            for match in matches
        ],
    }
