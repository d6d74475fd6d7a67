"""The trained parameters: AdamW with its schedule, and second copies of them, the shadows, by name.

average     the moving average: what is evaluated, shown and exported. Every run has it
behaviour   samples the rollouts and is v_old, where the objective asks for it
start       the adapter that the run began from, where that is the reference: it never moves
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from flowbench.config import OptimizerConfig
from flowbench.errors import NotFinite
from flowbench.tensors import adam_state, restore_adam_state

AVERAGE, BEHAVIOUR, LIVE, START = "average", "behaviour", "live", "start"


@dataclass(frozen=True)
class Shadow:
    """A copy that follows the live weights: shadow <- decay x shadow + (1 - decay) x live.

    It moves `after` every "update" (optimizer step; every `every` of them), or once after every training "step".
    `decay` is a function of the number of optimizer steps taken, or of the training step (0-based).
    """

    decay: Callable[[int], float]
    after: Literal["update", "step"] = "step"
    every: int = 1


def scheduled_lr(config: OptimizerConfig, step: int, total: int) -> float:
    """Learning rate of training step `step` (0-based) of `total`: linear warm-up, then the configured shape."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, total - config.warmup)
    shape = {"constant": 1.0, "linear": 1 - progress, "cosine": 0.5 * (1 + math.cos(math.pi * progress))}
    return config.lr * shape[config.schedule]


class Learner:
    """Optimizer and shadows over named adapter parameters; `shadows` beside the average."""

    def __init__(
        self,
        parameters: Mapping[str, torch.nn.Parameter],
        config: OptimizerConfig,
        shadows: Mapping[str, Shadow] | None = None,
    ):
        self.parameters = dict(parameters)
        self.config = config
        self.updates = 0
        self.optimizer = torch.optim.AdamW(
            list(self.parameters.values()),
            lr=config.lr, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay, fused=config.fused,
        )  # fmt: skip
        # The average's decay grows with the number of optimizer steps (Flow-GRPO's code), not with that of averages.
        average = Shadow(lambda n: min((1 + n) / (10 + n), config.ema_decay), "update", config.ema_every)
        self.shadows = {AVERAGE: average, **(shadows or {})}
        self.weights = {
            shadow: {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
            for shadow in self.shadows
        }

    def live(self, names: Set[str]) -> set[str]:
        """Those of the shadows of these names whose weights are, to the bit, the live ones."""
        return {name for name in names & self.shadows.keys() if self._is_live(self.weights[name])}

    def _is_live(self, values: Mapping[str, torch.Tensor]) -> bool:
        return all(torch.equal(value, self.parameters[name]) for name, value in values.items())

    def apply(self, lr: float) -> float:
        """One optimizer step on the gradients at hand, then clear them; returns the gradient norm before clipping.

        A norm that is not finite (float16 can overflow) is returned as it is, and the step is not taken.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        norm = float(torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), self.config.max_grad_norm))
        if math.isfinite(norm):
            self.optimizer.step()
            self.updates += 1
            for name, shadow in self.shadows.items():
                if shadow.after == "update" and self.updates % shadow.every == 0:
                    self._follow(name, shadow.decay(self.updates))
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def end_step(self, step: int) -> None:
        """Training step `step` (0-based) is over: move the shadows that follow step by step."""
        for name, shadow in self.shadows.items():
            if shadow.after == "step":
                self._follow(name, shadow.decay(step))

    @contextmanager
    def using(self, weights: str) -> Iterator[None]:
        """Inside, the model holds that shadow, to be read; the live weights come back whatever happens. "live": nothing
        changes.

        Tensors are exchanged, not their values: to the graph of a forward pass before this the parameters are as they
        were, so that it can still be taken back after it.
        """
        if weights == LIVE:
            yield
            return
        live = {name: parameter.data for name, parameter in self.parameters.items()}
        self._exchange(self.weights[weights])
        try:
            yield
        finally:
            self._exchange(live)

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that resuming needs, as flat tensors.

        Raises NotFinite when a number in them is not: a checkpoint never holds one.
        """
        tensors = {f"{LIVE}/{name}": parameter.detach() for name, parameter in self.parameters.items()}
        for shadow, values in self.weights.items():
            tensors |= {f"{shadow}/{name}": value for name, value in values.items()}
        tensors |= {f"adam/{name}": value for name, value in adam_state(self.optimizer, self.parameters).items()}
        sums = torch.stack(
            [value.sum().float().cpu() for value in tensors.values()]
        )  # not finite where a number is not
        if not sums.isfinite().all():
            name = list(tensors)[int((~sums.isfinite()).nonzero()[0])]
            raise NotFinite(
                f"after {self.updates} updates {name} is not finite (NaN or infinite) and is not saved; the checkpoint "
                "before it stays. Train again with a lower optimizer.lr, or an optimizer.eps of 1e-8 or more."
            )
        return tensors

    def restore(self, tensors: Mapping[str, torch.Tensor], updates: int) -> None:
        """Inverse of `state`."""
        self._load({name: tensors[f"{LIVE}/{name}"] for name in self.parameters})
        for shadow, values in self.weights.items():
            for name, value in values.items():
                value.copy_(tensors[f"{shadow}/{name}"])
        adam = {key.removeprefix("adam/"): value for key, value in tensors.items() if key.startswith("adam/")}
        restore_adam_state(self.optimizer, self.parameters, adam)
        self.updates = updates

    @torch.no_grad()
    def _follow(self, shadow: str, decay: float) -> None:
        for name, parameter in self.parameters.items():
            self.weights[shadow][name].lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def _load(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])

    def _exchange(self, tensors: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.data = tensors[name]
