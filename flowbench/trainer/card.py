"""The card of a run: what its numbers depend on beside config.yaml, so that a resumed run cannot drift unnoticed.

must_agree   the base weights and the training prompts: a difference forbids going on
noted        processes, device, dtype and versions, for the record: others give the same numbers within rounding
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbench import store
from flowbench.errors import RunError
from flowbench.prompts import prompts_digest
from flowbench.types import Prompt

if TYPE_CHECKING:
    from flowbench.models.base import FlowModel

FILE = "card.json"
_MEANING = {"weights": "weights of the base model", "prompts": "training prompts"}


def build_card(model: FlowModel, training: Sequence[Prompt], *, processes: int) -> dict[str, dict[str, Any]]:
    """The card of a run that trains `model` on these prompts in so many processes."""
    import torch

    return {
        "must_agree": {"weights": model.base_digest, "prompts": prompts_digest(training)},
        "noted": {
            "processes": processes,
            "threads": torch.get_num_threads(),
            "device": str(model.device),
            "dtype": str(model.dtype),
            **store.versions(),
        },
    }


def check_card(folder: Path, card: dict[str, dict[str, Any]]) -> None:
    """Raises RunError when the run in `folder` was started on other prompts or weights than `card` names."""
    path = folder / FILE
    if not path.is_file():
        return
    before = store.read_json(path)["must_agree"]
    for key, value in card["must_agree"].items():
        if before.get(key) != value:
            raise RunError(
                f"{folder} was started with other {_MEANING[key]} than are there now, so it would not go on to the "
                "same numbers. Bring those back, or start a new run with another --out."
            )


def started_processes(folder: str | Path) -> int | None:
    """In how many processes the run was started; None when no card says so."""
    path = Path(folder) / FILE
    return int(store.read_json(path)["noted"]["processes"]) if path.is_file() else None
