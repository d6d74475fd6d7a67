"""The lines below a table: how many pictures, what an interval is, what is missing and why."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from flowbench.evals.results import Results
from flowbench.stats.intervals import Interval
from flowbench.stats.paired import Paired, WinRate

UNSEEN_MARK = "*"
_HOW = {
    "wilson": "Wilson's score, clustered",
    "percentile": "percentile bootstrap of {draws:,} draws",
    "bca": "BCa bootstrap of {draws:,} draws",
    "analytic": "Student's t, clustered",
}


def kind_of_interval(found: Iterable[Interval | Paired | WinRate | None]) -> str:
    """What the bounds of these are: '95 % interval over prompts (percentile bootstrap of 2,000 draws)', of several
    kinds all of them; "" where none has bounds. Every table and page says it in these words."""
    kinds: dict[float, dict[str, None]] = {}
    for each in found:
        if each is not None and not math.isnan(each.low):
            kinds.setdefault(each.confidence, {})[_HOW[each.method].format(draws=each.draws)] = None
    return " or ".join(
        f"{100 * confidence:g} % interval over prompts ({' or '.join(how)})" for confidence, how in kinds.items()
    )


def brackets(intervals: Iterable[Interval | None]) -> str:
    """What stands in the brackets of a table with these intervals; none: a number of all pictures has no interval."""
    found = list(intervals)
    if not found:
        return "a number of all pictures together has no interval"
    kind = kind_of_interval(found)
    return f"brackets: {kind}" if kind else "too few prompts for intervals"


def counts(evaluations: Sequence[Results]) -> str:
    """'553 prompts x 4 pictures; overall is the unweighted mean of 6 tags; brackets: ...', of evaluations on the same
    pictures."""
    results = evaluations[0]
    prompts, images = results.summary.prompts, results.summary.images
    each, uneven = divmod(images, prompts)
    pictures = f", {images} pictures" if uneven else f" x {each} picture{'s' if each > 1 else ''}"
    mean = f"overall is {kind_of_mean(results)}; " if results.tags else ""
    overall = (entry.overall for each in evaluations for entry in each.summary.metrics.values() if entry.level != "set")
    return f"{prompts} prompts{pictures}; {mean}{brackets(overall)}."


def kind_of_mean(results: Results) -> str:
    """What its overall numbers are: 'the unweighted mean of 6 tags', or 'the mean over all pictures'."""
    if results.tags and results.is_mean_of_tags:
        return f"the unweighted mean of {len(results.tags)} tags"
    return "the mean over all pictures"


def unseen(tags: Sequence[str]) -> list[str]:
    """What the mark at a tag means; nothing without such tags."""
    if not tags:
        return []
    return [f"{UNSEEN_MARK} the training split holds the same prompts: evaluated on unseen seeds, not unseen prompts."]


def unscored(evaluations: Sequence[Results], most: int = 2) -> list[str]:
    """One line for each evaluation and scorer that left something unscored, or did not run, with the `most` frequent
    reasons (one that names its prompt comes once for each prompt)."""
    lines = []
    for results in evaluations:
        scorers = results.summary.scorers
        for scorer in scorers:
            found, total = scorer.unscored_reasons, results.summary.total(scorer.level)
            often = [reason.rstrip(".") for reason in sorted(found, key=lambda reason: -found[reason])]
            more = [f"{len(often) - most} more reasons like these"] * (len(often) > most)
            why = "; ".join([*often[:most], *more])
            by = f" by {scorer.name}" if len(scorers) > 1 else ""
            what = f"{scorer.unscored} of {total} {scorer.level}{'s' if total > 1 else ''} unscored{by}"
            if not scorer.ran:
                lines.append(f"{results.label}: {scorer.name} did not run: {scorer.reason.rstrip('.')}.")
            elif scorer.unscored:
                lines.append(f"{results.label}: {what} ({why}), left out of its means.")
    return lines
