"""The one training loop of the three stages: seeded by step, resumable, logged."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from flowbench.store import append_jsonl
from flowbench.tensors import adam_state, load_tensors, restore_adam_state, save_tensors


@dataclass(frozen=True)
class StageConfig:
    """Optimisation settings of one stage. The learning rate warms up, stays, then falls linearly to zero."""

    steps: int
    """Optimizer steps."""
    lr: float
    """The highest learning rate."""
    warmup: int = 100
    """Steps over which the rate rises to it."""
    cooldown_from: float = 0.5
    """Share of the steps after which the rate falls."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Of AdamW."""
    weight_decay: float = 0.01
    """Of AdamW."""
    ema: float = 0.998
    """Highest decay of the average of the weights; early steps have a lower one."""
    max_grad_norm: float = 1.0
    """The gradient's norm is cut to this."""
    log_every: int = 50
    """Steps of which one line of the curve is the mean."""
    save_every: int = 500
    """Steps between two states from which the stage can go on."""


def learning_rate(step: int, config: StageConfig) -> float:
    """Learning rate of optimizer step `step` (0-based)."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    start = int(config.steps * config.cooldown_from)
    if step < start:
        return config.lr
    return config.lr * (config.steps - step) / max(1, config.steps - start)


def run_stage(
    folder: Path,
    name: str,
    parameters: Mapping[str, torch.nn.Parameter],
    loss_at: Callable[[int], tuple[torch.Tensor, dict[str, float]]],
    config: StageConfig,
) -> dict[str, torch.Tensor]:
    """Minimise `loss_at(step)`; returns the EMA weights.

    `loss_at` draws its batch from a generator seeded by the step, so that a resumed stage sees what an uninterrupted
    one would. State goes to `<folder>/<name>.state.safetensors`, the curve to `<folder>/<name>.jsonl`.
    """
    optimizer = torch.optim.AdamW(
        list(parameters.values()), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay
    )
    ema = {key: value.detach().clone() for key, value in parameters.items()}
    state_path = folder / f"{name}.state.safetensors"
    first = _resume(state_path, parameters, ema, optimizer) if state_path.is_file() else 0
    started = time.monotonic()
    sums: dict[str, float] = {}
    for step in range(first, config.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        loss, figures = loss_at(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(parameters.values()), config.max_grad_norm)
        optimizer.step()
        decay = min(config.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.values()), [p.detach() for p in parameters.values()], 1 - decay)
        for key, value in {"loss": float(loss.detach()), **figures}.items():
            sums[key] = sums.get(key, 0.0) + value
        done = step + 1
        if done % config.log_every == 0 or done == config.steps:
            count = (done - 1) % config.log_every + 1
            line = {"step": done, **{key: value / count for key, value in sums.items()}}
            sums = {}
            append_jsonl(folder / f"{name}.jsonl", {**line, "timing": {"seconds": time.monotonic() - started}})
            print(f"{name} " + " ".join(f"{key} {value:.5g}" for key, value in line.items()), flush=True)
        if done % config.save_every == 0 or done == config.steps:
            _save(state_path, parameters, ema, optimizer, done)
    return ema


def _save(path: Path, parameters: Mapping, ema: Mapping, optimizer: torch.optim.Optimizer, step: int) -> None:
    tensors = {f"live/{key}": value for key, value in parameters.items()}
    tensors |= {f"ema/{key}": value for key, value in ema.items()}
    tensors |= {f"adam/{key}": value for key, value in adam_state(optimizer, parameters).items()}
    save_tensors(path, tensors, {"step": str(step)})


def _resume(path: Path, parameters: Mapping, ema: dict, optimizer: torch.optim.Optimizer) -> int:
    tensors, header = load_tensors(path)
    with torch.no_grad():
        for key, parameter in parameters.items():
            parameter.copy_(tensors[f"live/{key}"])
            ema[key].copy_(tensors[f"ema/{key}"])
    adam = {key.removeprefix("adam/"): value for key, value in tensors.items() if key.startswith("adam/")}
    restore_adam_state(optimizer, parameters, adam)
    return int(header["step"])
