"""LoRA by PEFT on a diffusers transformer: one adapter, named "default", kept in float32.

A LoRA layer computes y = W x + b + scaling * B A x (Hu et al. 2021, equation 3, with scaling = alpha / rank). The
fused form computes y = (W + scaling * B A) x + b instead. For narrow layers and many tokens this is faster: the sum is
one small product per layer, while PEFT pays two products and two additions per layer over all tokens. The fused form
runs the same operations with and without gradient, so that rollout and replay agree bit by bit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional

from flowbench.errors import ModelError
from flowbench.models.adapter_config import DECIDING

ADAPTER = "default"


def attach(transformer: Any, config: Mapping[str, Any], *, fuse: bool) -> None:
    """Put LoRA layers into `transformer` (`config`: fields of adapter_config.DECIDING), float32, without dropout."""
    from peft import LoraConfig

    try:
        transformer.add_adapter(LoraConfig(**config, lora_dropout=0.0, bias="none"), ADAPTER)
    except (ValueError, TypeError, re.error) as error:
        raise ModelError(f"the adapter does not fit this model ({error}). Load the one it was made for.") from error
    for parameter in parameters(transformer).values():
        parameter.data = parameter.data.float()
    if fuse:
        for layer in layers(transformer):
            if not isinstance(layer.base_layer, torch.nn.Linear):  # a convolution: PEFT's own form
                continue
            layer.forward = FusedLinear(layer)


def layers(transformer: torch.nn.Module) -> list[Any]:
    """The LoRA layers inside `transformer`, in module order."""
    if not hasattr(transformer, "peft_config"):
        return []
    from peft.tuners.lora import LoraLayer

    return [module for module in transformer.modules() if isinstance(module, LoraLayer)]


def config(transformer: Any) -> dict[str, Any]:
    """The fields of PEFT's configuration that decide what the adapter computes, JSON-able; rare ones where they are
    set."""
    held = transformer.peft_config[ADAPTER]
    chosen = {
        "r": held.r,
        "lora_alpha": held.lora_alpha,
        "target_modules": held.target_modules,
        "rank_pattern": dict(held.rank_pattern),
        "alpha_pattern": dict(held.alpha_pattern),
        "use_rslora": held.use_rslora,
    }
    rare = {key: getattr(held, key, None) for key in DECIDING if key not in chosen}
    chosen |= {key: value for key, value in rare.items() if value is not None}
    return {key: sorted(value) if isinstance(value, set) else value for key, value in chosen.items()}


def same_shape(held: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configurations scale alike; targets are compared by their tensors in `set_parameters`."""
    defaults = {"rank_pattern": {}, "alpha_pattern": {}, "use_rslora": False}
    keys = ("r", "lora_alpha", *defaults)
    return all(held.get(key, defaults.get(key)) == other.get(key, defaults.get(key)) for key in keys)


def parameters(transformer: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Name such as 'transformer_blocks.0.attn.to_q.lora_A.weight' -> parameter, sorted."""
    found = {
        name.replace(f".{ADAPTER}.weight", ".weight"): parameter
        for name, parameter in transformer.named_parameters()
        if name.endswith((f".lora_A.{ADAPTER}.weight", f".lora_B.{ADAPTER}.weight"))
    }
    return dict(sorted(found.items()))


@torch.no_grad()
def initialise(transformer: torch.nn.Module, seed: int) -> None:
    """A ~ N(0, 1/rank^2) from a CPU generator of its own, in order of names; B = 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in parameters(transformer).items():
        if ".lora_A." in name:
            rank = parameter.shape[0]
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / rank)
        else:
            parameter.zero_()


@torch.no_grad()
def set_parameters(transformer: torch.nn.Module, tensors: Mapping[str, torch.Tensor], origin: str) -> None:
    """Copy values in; every name and shape must fit, else ModelError."""
    own = parameters(transformer)
    strange = sorted(set(own) ^ set(tensors))
    if strange:
        where = "not in the file" if strange[0] in own else "not in the model"
        raise ModelError(
            f"{origin}: {len(strange)} tensors do not match ({strange[0]} is {where}). Check the base model."
        )
    for name, parameter in own.items():
        if parameter.shape != tensors[name].shape:
            shapes = f"{tuple(tensors[name].shape)}, the model needs {tuple(parameter.shape)}"
            raise ModelError(f"{origin}: {name} has shape {shapes}. Load the base model this adapter was made for.")
        parameter.copy_(tensors[name])


@contextmanager
def disabled(transformer: torch.nn.Module) -> Iterator[None]:
    """Inside, LoRA layers compute their base layer only."""
    enabled = [layer for layer in layers(transformer) if not layer.disable_adapters]
    for layer in enabled:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in enabled:
            layer.enable_adapters(True)


class FusedLinear:
    """The forward pass of one LoRA layer as a single linear layer with the weight W + scaling * B A."""

    def __init__(self, layer: Any):
        self.layer = layer
        self.frozen: torch.Tensor | None = None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        base = self.layer.base_layer
        if self.layer.disable_adapters:
            weight = base.weight
        elif self.frozen is not None and not torch.is_grad_enabled():
            weight = self.frozen
        else:
            weight = self.weight()
        return functional.linear(x, weight, base.bias)

    def weight(self) -> torch.Tensor:
        """W + scaling * B A; gradient reaches A and B only. With B = 0 it is W exactly."""
        a, b = self.layer.lora_A[ADAPTER].weight, self.layer.lora_B[ADAPTER].weight
        return torch.addmm(self.layer.base_layer.weight, b, a, alpha=self.layer.scaling[ADAPTER])


@contextmanager
def frozen(transformer: torch.nn.Module) -> Iterator[None]:
    """Inside, fused layers reuse one weight in passes without gradient. Nothing to do for ordinary PEFT layers."""
    found = [layer.forward for layer in layers(transformer) if isinstance(layer.forward, FusedLinear)]
    fused = [forward for forward in found if forward.frozen is None]
    with torch.no_grad():
        for forward in fused:
            forward.frozen = forward.weight()
    try:
        yield
    finally:
        for forward in fused:
            forward.frozen = None
