"""What the panel's judges say, look by look: who has fallen from its best, and whether reward and gold have parted.

A held-out score and the gold count by their distance from their best look so far, gold and reward by theirs from the
beginning, too: means over the prompts that are scored in both, in the beginning's standard deviation between prompts.
So scores of any unit share their lines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy
import torch

from flowbench.errors import ConfigError
from flowbench.metrics.signals import NO_SPREAD, Signal
from flowbench.trainer.monitor.judges import GAP, REWARD, Judge

FALLEN, PARTED = -0.5, 1.0
"""Lines: of a held-out score's distance from its best, and of how much further the reward has risen than the gold."""
FIRST, BEST = "monitor/judged", "monitor/judged_best"


class Judged:
    """Of one run. `state()` is all that a resumed one must know."""

    def __init__(self, judges: Sequence[Judge] = (), gold: str | None = None):
        """judges: in the order of their columns; with a gold it is one of them, and REWARD is the last."""
        self.names, self._gold = [judge.name for judge in judges], gold
        self._signs = numpy.array([-1.0 if judge.lower_is_better else 1.0 for judge in judges])
        self._first: numpy.ndarray | None = None
        self._best: numpy.ndarray | None = None
        """(prompts, judges): of each judge, its best look"""
        self.signals = [Signal(name, f"{name} is far from its best", FALLEN) for name in self.names if name != REWARD]
        if gold is not None:
            self.signals.append(Signal(GAP, f"the reward has risen further than {gold}, its gold", most=PARTED))

    def begin(self, values: numpy.ndarray) -> None:
        """values: (prompts, judges), of the beginning. Raises ConfigError for a judge that scores none of them: nothing
        could ever be held against it."""
        for name, column in zip(self.names, values.T, strict=True):
            if numpy.isnan(column).all():
                raise ConfigError(f"monitor: {name} scores none of the watch's pictures. Name a reward that does.")
        self._first, self._best = values, values.copy()

    @property
    def blind(self) -> list[str]:
        """Judges whose scores do not differ between the beginning's prompts, so that no distance is known."""
        spread = [] if self._first is None else _spread(self._first).tolist()
        return [name for name, value in zip(self.names, spread, strict=False) if math.isnan(value)]

    def note(self, values: numpy.ndarray) -> tuple[dict[str, float], dict[str, float]]:
        """After a look: (what is logged, each signal's distance)."""
        if not self.names:
            return {}, {}
        assert self._first is not None and self._best is not None
        spread = _spread(self._first)
        fallen, moved = (self._signs * _mean(values - then) / spread for then in (self._best, self._first))
        scored, of_best = ((~numpy.isnan(each)).sum(axis=0) for each in (values, self._best))
        is_better = (fallen > 0) & (scored >= of_best)  # a look of which little is scored is no measure for later ones
        self._best[:, is_better] = values[:, is_better]
        by_name = dict(zip(self.names, fallen.tolist(), strict=True))
        distances = {each.name: by_name[each.name] for each in self.signals if each.name != GAP}
        if self._gold is not None:
            rises = bool(is_better[self.names.index(self._gold)])
            distances[GAP] = math.nan if rises else self._gap(dict(zip(self.names, moved.tolist(), strict=True)))
        figures = {f"monitor/{name}": value for name, value in zip(self.names, _mean(values).tolist(), strict=True)}
        return figures | {f"monitor/{name}_moved": value for name, value in distances.items()}, distances

    def _gap(self, moved: Mapping[str, float]) -> float:
        """NaN while the reward has not risen: then nothing is hacked. Nor is it while the gold goes on rising."""
        assert self._gold is not None
        return moved[REWARD] - moved[self._gold] if moved[REWARD] > 0 else math.nan

    def state(self) -> dict[str, torch.Tensor]:
        """For a checkpoint; nothing without judges."""
        if self._first is None or self._best is None or not self.names:
            return {}
        return {FIRST: torch.from_numpy(self._first), BEST: torch.from_numpy(self._best.copy())}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """From a checkpoint of the same run."""
        if FIRST in tensors:
            self._first, self._best = tensors[FIRST].numpy(), tensors[BEST].numpy()


def _mean(values: numpy.ndarray) -> numpy.ndarray:
    """(prompts, judges) -> (judges,): over the prompts that have a number, NaN where none has."""
    known = ~numpy.isnan(values)
    total = numpy.where(known, values, 0).sum(axis=0)
    return numpy.divide(total, known.sum(axis=0), out=numpy.full(values.shape[1], math.nan), where=known.any(axis=0))


def _spread(values: numpy.ndarray) -> numpy.ndarray:
    """(prompts, judges) -> (judges,): the standard deviation between scored prompts; NaN where there is none to speak
    of."""
    found = numpy.full(values.shape[1], math.nan)
    for column, some in enumerate(values.T):
        known = some[~numpy.isnan(some)]
        if len(known) > 1 and known.std(ddof=1) > NO_SPREAD:
            found[column] = known.std(ddof=1)
    return found
