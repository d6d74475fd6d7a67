"""`flowbench cache`."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import click

from flowbench.cli.options import count
from flowbench.cli.output import format_option, show_tables
from flowbench.errors import ConfigError, RunError
from flowbench.registry import did_you_mean
from flowbench.terminal import say

if TYPE_CHECKING:
    from flowbench.rewards.cache_file import CacheFile, Kept


@click.group()
def cache() -> None:
    """Show or clear the score cache.

    Scores of slow rewards are kept in FLOWBENCH_CACHE (~/.cache/flowbench), so that the same picture and prompt are
    scored once, in training, evaluation and scoring alike. FLOWBENCH_SCORE_CACHE=off turns it off.
    """


@cache.command()
@format_option
def stats(style: str | None) -> None:
    """Show how many scores are kept, of which rewards, how large they are, how often they were found."""
    from flowbench.assets.asset import readable
    from flowbench.reports.tables.table import Table
    from flowbench.rewards.cache import file_path, is_on
    from flowbench.rewards.cache_file import CacheFile

    path = file_path()
    kept = _kept(CacheFile(path)) if path.exists() else []
    # bytes on the disk, with what SQLite keeps beside the file
    size = sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*") if each.is_file())
    data: dict[str, Any] = {"file": str(path), "on": is_on(), "size": size, "scores": 0, "rewards": {}}
    rows = []
    for each in kept:
        oldest, newest = _day(each.oldest), _day(each.newest)
        numbers = {name: value for name, value in each._asdict().items() if name != "reward"}
        data["rewards"][each.reward] = numbers | {"oldest": oldest, "newest": newest}
        data["scores"] += each.scores
        counts = str(each.scores), readable(each.size), str(each.hits), str(each.misses)
        rows.append((each.reward, *counts, oldest, newest))
    notes = [f"{path}: {readable(size) if path.exists() else 'not there yet'}."]
    notes += ["Turned off by FLOWBENCH_SCORE_CACHE."] * (not is_on())
    header = ("reward", "scores", "size", "found", "not found", "oldest", "newest")
    show_tables([Table("score cache", header, tuple(rows), tuple(notes))], data, style=style)


@cache.command()
@click.option("--reward", metavar="NAME", help="Only scores of this reward.")
@click.option("--older-than", type=count(least=0), metavar="DAYS", help="Only scores made more than DAYS ago.")
def clear(reward: str | None, older_than: int | None) -> None:
    """Drop scores: all of them, or those that the options name."""
    from flowbench import rewards
    from flowbench.rewards.cache import file_path
    from flowbench.rewards.cache_file import CacheFile, CacheTrouble

    path = file_path()
    file = CacheFile(path)
    if reward is not None and reward not in rewards.registry:  # else it may be of a plugin that is not here
        names = [each.reward for each in _kept(file)] if path.exists() else []
        if reward not in names:
            held = f"It holds scores of: {', '.join(names)}." if names else "It is empty."
            guess = did_you_mean(reward, [*names, *rewards.registry])
            raise ConfigError(f"the score cache holds no scores of reward '{reward}'.{guess} {held}")
    if not path.exists():
        say(f"the score cache is empty ({path})")
        return
    try:
        dropped = file.clear(reward=reward, older_than=older_than)
    except CacheTrouble as error:
        if reward is not None or older_than is not None or error.busy:
            raise RunError(str(error)) from error
        try:
            file.remove()
        except CacheTrouble as trouble:
            raise RunError(str(trouble)) from trouble
        say(f"the score cache could not be read any more and was deleted ({path})")
        return
    finally:
        file.close()
    say(f"{dropped} scores dropped ({path})")


def _kept(file: CacheFile) -> list[Kept]:
    from flowbench.rewards.cache_file import CacheTrouble

    try:
        return file.kept()
    except CacheTrouble as error:
        raise RunError(str(error)) from error


def _day(days: int) -> str:
    return date.fromordinal(date(1970, 1, 1).toordinal() + days).isoformat()
