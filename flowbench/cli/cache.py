"""`flowbench cache`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowbench.cli.output import format_option, show_tables
from flowbench.errors import ConfigError, RunError
from flowbench.registry import did_you_mean

if TYPE_CHECKING:
    from flowbench.reports.tables.evaluations import Table
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
    from flowbench.rewards.cache import file_path, is_on
    from flowbench.rewards.cache_file import CacheFile

    path = file_path()
    kept = _kept(CacheFile(path)) if path.exists() else []
    data = {
        "file": str(path),
        "on": is_on(),
        "size": _size(path),
        "scores": sum(each.scores for each in kept),
        "rewards": {each.reward: _entry(each) for each in kept},
    }  # fmt: skip
    show_tables([_table(path, kept, is_on())], data, style=style)


@cache.command()
@click.option("--reward", metavar="NAME", help="Only scores of this reward.")
@click.option("--older-than", type=click.IntRange(0), metavar="DAYS", help="Only scores made more than DAYS ago.")
def clear(reward: str | None, older_than: int | None) -> None:
    """Drop scores: all of them, or those that the options name."""
    from flowbench.rewards.cache import file_path
    from flowbench.rewards.cache_file import CacheFile, CacheTrouble

    path = file_path()
    file = CacheFile(path)
    if reward is not None:
        _check_reward(reward, _kept(file) if path.exists() else [])
    if not path.exists():
        click.echo(f"the score cache is empty ({path})")
        return
    try:
        dropped = file.clear(reward=reward, older_than=older_than)
    except CacheTrouble as error:
        if reward is not None or older_than is not None or error.busy:
            raise RunError(str(error)) from error
        file.remove()
        click.echo(f"the score cache could not be read any more and was deleted ({path})")
        return
    finally:
        file.close()
    click.echo(f"{dropped} scores dropped ({path})")


def _kept(file: CacheFile) -> list[Kept]:
    from flowbench.rewards.cache_file import CacheTrouble

    try:
        return file.kept()
    except CacheTrouble as error:
        raise RunError(str(error)) from error


def _check_reward(reward: str, kept: list[Kept]) -> None:
    """Raise ConfigError for a name that is no reward's: a registered one, or one whose plugin is not here."""
    from flowbench import rewards

    names = [each.reward for each in kept]
    if reward not in names and reward not in rewards.registry:
        held = f"It holds scores of: {', '.join(names)}." if names else "It is empty."
        guess = did_you_mean(reward, [*names, *rewards.registry])
        raise ConfigError(f"the score cache holds no scores of reward '{reward}'.{guess} {held}")


def _table(path: Path, kept: list[Kept], is_on: bool) -> Table:
    from flowbench.assets.asset import readable
    from flowbench.reports.tables.evaluations import Table

    rows = tuple(
        (each.reward, str(each.scores), readable(each.size), str(each.hits), str(each.misses), _day(each.oldest),
         _day(each.newest))
        for each in kept
    )  # fmt: skip
    notes = [f"{path}: {readable(_size(path)) if path.exists() else 'not there yet'}."]
    notes += ["Turned off by FLOWBENCH_SCORE_CACHE."] * (not is_on)
    return Table("score cache", ("reward", "scores", "size", "found", "not found", "oldest", "newest"), rows,
                 tuple(notes))  # fmt: skip


def _entry(kept: Kept) -> dict[str, Any]:
    days = {"oldest": _day(kept.oldest), "newest": _day(kept.newest)}
    return {key: value for key, value in kept._asdict().items() if key != "reward"} | days


def _day(days: int) -> str:
    return date.fromordinal(date(1970, 1, 1).toordinal() + days).isoformat()


def _size(path: Path) -> int:
    """Bytes on the disk, with what SQLite keeps beside the file."""
    return sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*") if each.is_file())
