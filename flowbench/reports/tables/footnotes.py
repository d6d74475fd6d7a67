"""The lines below a table: how many pictures, what an interval is, what is missing and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flowbench.evals.results import Results

UNSEEN_MARK = "*"


def counts(results: Results) -> str:
    """'553 prompts x 4 pictures; overall is the unweighted mean of 6 tags; brackets: ...'."""
    agreed = results.card["must_agree"]
    mean = f"overall is {kind_of_mean(results)}; " if results.tags else ""
    bounds = any(results.interval(metric).get("low") is not None for metric in results.summary["metrics"])
    sure = "brackets: 95 % interval, bootstrap over prompts" if bounds else "too few prompts for intervals"
    pictures = "1 picture" if agreed["images_per_prompt"] == 1 else f"{agreed['images_per_prompt']:g} pictures"
    return f"{agreed['num_prompts']} prompts x {pictures}; {mean}{sure}."


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


def unscored(results: Sequence[Results]) -> list[str]:
    """One line for each evaluation and scorer that left something unscored, or did not run, with the reasons."""
    return [f"{each.label}: {line}" for each in results for line in _gaps(each.summary)]


def unscored_by_scorer(scored: Sequence[Results]) -> list[str]:
    """The same for scorings of one set of pictures, which are named by their scorer."""
    return [
        f"{each.summary['suite']}: {each.summary['unscored']} of {each.summary['images']} unscored "
        f"({_reasons(each.summary)}), left out of its mean."
        for each in scored
        if each.summary["unscored"]
    ]


def _gaps(summary: Mapping[str, Any]) -> list[str]:
    scorers: Mapping[str, Any] = summary.get("scorers") or {"": summary}
    lines = []
    for name, status in scorers.items():
        by = f" by {name}" if len(scorers) > 1 else ""
        if status.get("status") == "not run":
            lines.append(f"{name} did not run: {str(status['reason']).rstrip('.')}.")
        elif status["unscored"]:
            what = {"prompt": f"{summary['prompts']} prompts", "set": "1 set"}.get(
                status.get("level", "picture"), f"{summary['images']} pictures"
            )
            lines.append(f"{status['unscored']} of {what} unscored{by} ({_reasons(status)}), left out of its means.")
    return lines


def _reasons(summary: Mapping[str, Any], most: int = 2) -> str:
    """The most frequent reasons; one that names its prompt comes once for each prompt."""
    reasons = summary["unscored_reasons"]
    often = sorted(reasons, key=lambda reason: -reasons[reason])
    more = [f"{len(often) - most} more reasons like these"] * (len(often) > most)
    return "; ".join([*(str(reason).rstrip(".") for reason in often[:most]), *more])
