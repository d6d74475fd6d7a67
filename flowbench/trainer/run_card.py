"""The card of a run: what its numbers depend on beside config.yaml, so that a resumed run cannot drift unnoticed.

must_agree   the base weights, the training prompts and the code of a plugin's reward or objective: a difference forbids
             going on
noted        processes, device, dtype and versions, for the record: others give the same numbers within rounding
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbench import assets, rewards, store
from flowbench.config import TrainConfig
from flowbench.errors import MissingFile, RunError
from flowbench.layout import RunFolder
from flowbench.prompts import prompts_digest
from flowbench.trainer import objectives
from flowbench.trainer.monitor.judges import asked_for
from flowbench.types import Prompt

if TYPE_CHECKING:
    from flowbench.models.base import FlowModel

FORMAT = 3
"""Of the card and the checkpoints; a change of their form is another number."""
FREE = ("out", "steps", "save_every", "sample_every", "keep")
"""Settings that may change when a run goes on."""
_MEANING = {
    "weights": "weights of the base model",
    "prompts": "training prompts",
    "code": "code of its plugin",
    "reward_weights": "weights of its reward",
    "monitor_weights": "weights of a reward that the watch asks",
    "data": "pictures in its data file",
    "start": "weights of the adapter that it begins from",
}


def build_run_card(
    model: FlowModel,
    training: Sequence[Prompt],
    config: TrainConfig,
    vocabulary: str,
    *,
    processes: int,
    start: str = "",
    data: str = "",
) -> dict[str, Any]:
    """The card of a run that trains `model` on these prompts under this configuration in that many processes.

    start: the digest of the adapter that it begins from; "": a fresh one, or that which the run's card names already.
    data: the digest of the pictures that it learns from; "": its own, by their rewards.
    """
    import torch

    of_objective = rewards.plugin_code(config.objective.name, objectives.registry)
    code = {f"objective {name}": digest for name, digest in of_objective.items()}
    more: dict[str, Any] = {"data": data} if data else {}
    if not data:
        reward = config.reward
        code = rewards.plugin_code(reward.name) | code
        names = [reward.name] if isinstance(reward.name, str) else list(reward.name)
        needs = [rewards.needed_weights(name, reward.options.get(name, {}), vocabulary) for name in names]
        weights = assets.identities(need for each in needs for need in each)
        more |= {"reward_weights": weights} if weights else {}
    code |= {f"monitor {name}": digest for name, digest in rewards.plugin_code(asked_for(config)).items()}
    wanted = [
        rewards.needed_weights(each, config.monitor.options.get(each, {}), vocabulary) for each in asked_for(config)
    ]
    looking_on = assets.identities(need for each in wanted for need in each)
    more |= {"monitor_weights": looking_on} if looking_on else {}
    if config.adapter.start is not None:
        held = None if start else read_card(config.out)
        more["start"] = start or (held or {"must_agree": {}})["must_agree"].get("start")
    return {
        "format": FORMAT,
        "must_agree": {"weights": model.base_digest, "prompts": prompts_digest(training), "code": code, **more},
        "noted": {
            "processes": processes,
            "threads": torch.get_num_threads(),
            "device": str(model.device),
            "dtype": str(model.dtype),
            **store.versions(),
        },
    }


def run_identity(config: TrainConfig, card: Mapping[str, Any]) -> str:
    """Twelve hex digits for all that decides a run's numbers: checkpoints of another identity are another run's."""
    return store.digest([config.model_dump(mode="json", exclude=set(FREE)), card["must_agree"]])[:12]


def check_card(folder: Path, card: dict[str, Any]) -> None:
    """Raises RunError when the run in `folder` was started on other prompts, weights or code than `card` names."""
    held = read_card(folder)
    if held is None:
        path = RunFolder(folder).card
        raise RunError(f"{path} is missing: nobody knows on which weights and prompts the run began. Restore it.")
    before = held["must_agree"]
    for key, value in card["must_agree"].items():
        if before.get(key) != value:
            raise RunError(
                f"{folder} was started with other {_MEANING[key]} than are there now, so it would not go on to the "
                "same numbers. Bring those back, or start a new run with another --out."
            )


def read_card(folder: str | Path) -> dict[str, Any] | None:
    """The card of a run, None when there is none. Raises RunError for one of another version, and for one that is
    damaged."""
    path = RunFolder(Path(folder)).card
    try:
        card = store.read_json(path)
    except MissingFile:
        return None
    if not isinstance(card, dict) or not isinstance(card.get("format"), int):
        raise RunError(f"{path} is damaged: it is no card of a run. Restore it, or start a new run with another --out.")
    if card["format"] != FORMAT:
        raise RunError(f"{folder} was begun by another version of flowbench: start a new run with another --out.")
    store.check_seal(path, card)
    return card
