"""`flowbench.testing.check_objective`: ours keep their promises, and each slip is named."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from flowbench.testing import check_objective
from flowbench.trainer.objectives import registry
from flowbench.trainer.objectives.nft import NFT


@pytest.mark.parametrize("name", ["flow_grpo", "nft", "dpo"])
def test_ours_keep_them(name):
    check_objective(name)


class Undeclared(NFT):
    figures = NFT.figures[1:]


class Spread(NFT):
    """Its loss is shared out over the micro-batch that a picture happens to be in."""

    def terms(self, policy, bundle):
        for term in super().terms(policy, bundle):
            yield replace(term, loss=term.loss / len(term.loss))


class Greedy(NFT):
    """Counts unscored pictures among those that share the loss."""

    def terms(self, policy, bundle):
        size = sum(len(each.scored) for each in bundle)
        for term in super().terms(policy, bundle):
            yield replace(term, loss=term.loss / size)


class Forgetful(NFT):
    """Draws from a stream of its own, which no checkpoint knows."""

    stream = itertools.count(1)

    def terms(self, policy, bundle):
        for term in super().terms(policy, bundle):
            yield replace(term, loss=term.loss * next(self.stream))


@pytest.mark.parametrize(
    ("slip", "label"),
    [(Undeclared, "figures"), (Spread, "micro-batch"), (Greedy, "unscored"), (Forgetful, "resume")],
)
def test_each_slip_is_named(slip, label, monkeypatch):
    monkeypatch.setitem(registry._targets, "nft", slip)
    if slip is Undeclared:  # a run would refuse it: only what comes before one
        monkeypatch.setattr("flowbench.testing.objective._resume", lambda config: "")
    with pytest.raises(AssertionError, match=f"objective 'nft' breaks .*\n(.*\n)*{label}: "):
        check_objective("nft")
