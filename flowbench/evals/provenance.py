"""Where a number comes from, and whether the model was trained on what it measures."""

from __future__ import annotations

from pathlib import Path

from flowbench.errors import FlowbenchError
from flowbench.evals.published import PublishedTable
from flowbench.evals.results import Results
from flowbench.layout import RunFolder

_PLACES = (1, 2)
"""How far above an evaluation its run lies: RUN/eval/NAME, or RUN/dev/eval/NAME."""


def trained_on(results: Results) -> tuple[str, ...]:
    """The rewards that the evaluated model was trained on, by its card or the run that it lies in; () when unknown.

    A model without an adapter was trained by nobody here.
    """
    if results.card.subject["adapter"] == "none":
        return ()
    noted = results.card.noted.get("trained_on")
    if noted:
        return tuple(noted)
    above = results.folder.resolve().parents
    return next(filter(None, (_rewards_of(above[place]) for place in _PLACES if len(above) > place)), ())


def training_of(source: str | Path, seen: tuple[Path, ...] = ()) -> tuple[str, ...]:
    """The rewards that a run was trained on, by its config.yaml; `source`: its folder, or one of its checkpoints'.

    Rewards of weight 0, at the beginning and in every stage of `reward.schedule`, were only logged. Those of the run
    that it began from count too, where that is still there.
    () when it is no run. seen: folders that were looked at already.
    """
    folder = Path(source)
    if not folder.is_dir() or folder in seen:
        return ()
    places = (folder, *folder.parents[1:2])  # RUN, or RUN of RUN/checkpoints/NAME
    return next(filter(None, (_rewards_of(place, (*seen, folder)) for place in places)), ())


def in_domain(scorer: str, rewards: tuple[str, ...]) -> bool:
    """Whether a scorer's numbers are what was trained on: the same reward, or a variant of it (hpsv2, hpsv2.1)."""
    return any(_related(scorer, reward) or _related(reward, scorer) for reward in rewards)


def origin_of(results: Results, table: PublishedTable) -> str:
    """ "re-measured" when the table holds a number for these very weights, by their hub id; else "measured"."""
    subject = results.card.subject
    weights = subject.get("source") if subject["adapter"] == "none" else subject.get("adapter_source")
    return "re-measured" if weights and any(row.hub == weights for row in table.rows) else "measured"


def printed_training(results: Results, table: PublishedTable) -> tuple[str, ...]:
    """The rewards that an adapter from the hub was trained on, as the table says of it; () when it does not know it."""
    source = results.card.subject.get("adapter_source")
    rows = [row for row in table.rows if source and row.hub == source]
    return tuple(dict.fromkeys(name for row in rows for name in row.trained_on))


def _rewards_of(run: Path, seen: tuple[Path, ...] = ()) -> tuple[str, ...]:
    """The names in the reward settings of a run, and of the run that it began from; () when there is no such file, or
    it is something else."""
    from flowbench.config import read_yaml

    if not RunFolder(run).is_training:
        return ()
    try:
        tree = read_yaml(RunFolder(run).config)
    except FlowbenchError:  # a file of somebody else's: it says nothing about this run
        return ()
    reward, adapter = tree.get("reward"), tree.get("adapter")
    name = reward.get("name") if isinstance(reward, dict) else None
    start = adapter.get("start") if isinstance(adapter, dict) else None
    before = training_of(start, seen) if isinstance(start, str) else ()
    if isinstance(name, str):
        name = {name: 1}
    later = reward.get("schedule") if isinstance(reward, dict) else None
    stages = [stage.get("weights") for stage in later if isinstance(stage, dict)] if isinstance(later, list) else []
    weighed = [] if tree.get("data") else [name, *stages]  # of a data file none is asked
    own = [str(each) for some in weighed if isinstance(some, dict) for each, weight in some.items() if weight]
    return tuple(dict.fromkeys([*own, *before]))


def _related(name: str, other: str) -> bool:
    return name == other or name.startswith((f"{other}_", f"{other}.", f"{other}-"))
