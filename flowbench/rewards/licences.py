"""Licences that ask something of their user: such a scorer runs only after the user has said yes by name.

The word must be the user's own: it comes from the command line, the environment or a call, never from a configuration.
"""

from __future__ import annotations

import os

from flowbench.errors import LicenceError
from flowbench.rewards.card import Card

VARIABLE = "FLOWBENCH_ACCEPT_LICENCES"
"""Environment variable: names of accepted scorers, separated by commas."""
_MEANING = {
    "non-commercial": "forbids commercial use",
    "copyleft": "asks you to publish what you build on it under the same licence",
    "unknown": "is not stated by its publisher",
}
_accepted: set[str] = set()


def accept_licence(name: str) -> None:
    """Accept the licence of the reward or metric of that name, for this process."""
    _accepted.add(name)


def accepted_licences() -> list[str]:
    """What `accept_licence` was called with, sorted."""
    return sorted(_accepted)


def require_accepted(card: Card) -> None:
    """Raise LicenceError for a scorer of restricting terms that the user has not accepted."""
    from_environment = {name.strip() for name in os.environ.get(VARIABLE, "").split(",")}
    if card.terms == "permissive" or card.name in _accepted | from_environment:
        return
    raise LicenceError(
        f"the licence of '{card.name}' ({card.licence}) {_MEANING[card.terms]}. Read it, and if it suits your use say "
        f"so: --accept-licence {card.name} (or {VARIABLE}={card.name})."
    )
