"""The trained parameters: AdamW with its schedule, and the moving average that is evaluated and exported."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from flowbench.config import OptimizerConfig
from flowbench.tensors import adam_state, restore_adam_state


def scheduled_lr(config: OptimizerConfig, step: int, total: int) -> float:
    """Learning rate of training step `step` (0-based) of `total`: linear warm-up, then the configured shape."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, total - config.warmup)
    shape = {"constant": 1.0, "linear": 1 - progress, "cosine": 0.5 * (1 + math.cos(math.pi * progress))}
    return config.lr * shape[config.schedule]


class Learner:
    """Optimizer and moving average over named adapter parameters."""

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], config: OptimizerConfig):
        self.parameters = dict(parameters)
        self.config = config
        self.updates = 0
        self.optimizer = torch.optim.AdamW(
            list(self.parameters.values()),
            lr=config.lr, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay,
        )  # fmt: skip
        self.ema = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

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
            if self.updates % self.config.ema_every == 0:
                self._average()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    @torch.no_grad()
    def _average(self) -> None:
        """The decay grows with the number of optimizer steps taken (Flow-GRPO's code), not with that of averages."""
        decay = min((1 + self.updates) / (10 + self.updates), self.config.ema_decay)
        for name, parameter in self.parameters.items():
            self.ema[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the model holds the moving average; the live weights come back whatever happens."""
        live = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        self._load(self.ema)
        try:
            yield
        finally:
            self._load(live)

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that resuming needs, as flat tensors."""
        tensors = {f"live/{name}": parameter.detach() for name, parameter in self.parameters.items()}
        tensors |= {f"ema/{name}": value for name, value in self.ema.items()}
        tensors |= {f"adam/{name}": value for name, value in adam_state(self.optimizer, self.parameters).items()}
        return tensors

    def restore(self, tensors: Mapping[str, torch.Tensor], updates: int) -> None:
        """Inverse of `state`."""
        self._load({name: tensors[f"live/{name}"] for name in self.parameters})
        for name, value in self.ema.items():
            value.copy_(tensors[f"ema/{name}"])
        adam = {key.removeprefix("adam/"): value for key, value in tensors.items() if key.startswith("adam/")}
        restore_adam_state(self.optimizer, self.parameters, adam)
        self.updates = updates

    @torch.no_grad()
    def _load(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])
