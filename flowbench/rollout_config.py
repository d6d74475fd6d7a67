"""How groups of pictures are sampled: the settings under `rollout`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from flowbench import bounds
from flowbench.objective_config import Frozen
from flowbench.solver_names import Solver


class RolloutConfig(Frozen):
    """How groups of pictures are sampled."""

    groups: int = Field(48, ge=1, le=bounds.AT_ONCE)
    """Prompts per training step, over all processes."""
    group_size: int = Field(24, ge=2, le=bounds.AT_ONCE)
    """Pictures per prompt."""
    micro_batch: int = Field(8, ge=1, le=bounds.AT_ONCE)
    """Pictures per forward pass: a fixed slice of a bundle, the same on any number of processes."""
    bundle: int = Field(1, ge=1, le=bounds.AT_ONCE)
    """Groups that one process samples and learns from together; a forward pass may span them."""
    same_latent: bool = False
    """All members of a group start from one latent and differ by the noise of their stochastic steps. What comes before
    that noise is then computed once for the group, in rollout and update."""
    branches: int | None = Field(None, ge=2, le=bounds.AT_ONCE)
    """A group is made of sets of this many pictures that share their latent and part at one stochastic step each, and
    only a set's members are compared (TempFlow-GRPO); null: the whole group is."""
    keep_graph: bool = False
    """Keep what the stochastic steps of a step's first update computed, so that it need not compute them again: the
    same numbers for less time and more memory."""
    steps: int = Field(10, ge=2, le=bounds.DENOISING_STEPS)
    """Denoising steps (Flow-GRPO's denoising reduction)."""
    guidance: float = Field(4.5, ge=1, le=bounds.GUIDANCE)
    """Classifier-free guidance; the guided velocity is the policy. 1: none."""
    solver: Solver = "euler"
    """Of the deterministic steps; heun calls the model twice in each but the last."""
    kind: Literal["flow", "cps", "dance", "ode"] = "flow"
    """The stochastic step; ode: none, every step is deterministic."""
    noise_level: float | None = Field(None, gt=0, le=bounds.NOISE_LEVEL, validate_default=True)
    """`a` in the step's equations; 0.7 when it is not given, null with kind ode, which draws no noise."""
    window: int | None = Field(None, ge=1, le=bounds.DENOISING_STEPS)
    """Number of consecutive stochastic steps (fast recipe); null: all but the last step."""
    window_range: int | None = Field(None, ge=1, le=bounds.DENOISING_STEPS)
    """The window lies within this many first steps; null: the first half, or all but the last for one that moves."""
    window_schedule: Literal["random", "progressive", "decay"] = "random"
    """Where the window lies: at random for each group, or moving on from the first step as training goes on (MixGRPO),
    evenly or ever faster over the later half of the steps."""
    window_stride: int | None = Field(None, ge=1, le=bounds.DENOISING_STEPS)
    """How far a window that moves goes at once; null: 1 step."""
    window_every: int | None = Field(None, ge=1, le=bounds.STEPS)
    """Training steps between its moves; null: 25."""
    window_end: Literal["stop", "restart"] | None = None
    """At the end of its range it stays or begins anew; null: it stays."""

    @model_validator(mode="before")
    @classmethod
    def _usual_noise(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "noise_level" not in values and values.get("kind") != "ode":
            return {**values, "noise_level": 0.7}
        return values

    @model_validator(mode="after")
    def _fits(self) -> RolloutConfig:
        if self.kind == "cps" and self.noise_level is not None and self.noise_level > 1:
            raise ValueError(f"noise_level {self.noise_level} is above 1, where kind cps has no more noise to give")
        if self.kind != "ode" and self.noise_level is None:
            raise ValueError(f"noise_level is null, and kind {self.kind} draws noise: give a number, such as 0.7")
        if self.solver != "euler" and self.noisy_count == self.steps - 1 and self.branches is None:
            raise ValueError(
                f"solver {self.solver} has no effect where every step but the last draws noise: set it to euler, or "
                f"window to less than {self.steps - 1}"
            )
        self._refuse_uneven_parts()
        if self.window is None and self.window_range is not None:
            raise ValueError(f"window_range {self.window_range} has no effect without a window: set it to null, too")
        if self.window is not None and self.window > self.last_window_step:
            raise ValueError(f"a window of {self.window} does not fit into the first {self.last_window_step} steps")
        self._refuse_noise_without_effect()
        self._refuse_moves_without_effect()
        return self

    def _refuse_uneven_parts(self) -> None:
        if self.groups % self.bundle:
            raise ValueError(f"groups {self.groups} is not a multiple of bundle {self.bundle}: lower bundle, too")
        if self.bundle * self.group_size % self.micro_batch:
            bundle = f"bundle {self.bundle} x " if self.bundle > 1 else ""
            more = "; to span groups, raise bundle" if self.micro_batch > self.bundle * self.group_size else ""
            raise ValueError(
                f"{bundle}group_size {self.group_size} is not a multiple of micro_batch {self.micro_batch}{more}"
            )
        if self.branches is not None and self.same_latent:
            raise ValueError("same_latent has no effect with branches, whose sets share latents: set it to false")
        if self.branches is not None and self.group_size % (self.branches * max(1, self.noisy_count)):
            raise ValueError(
                f"group_size {self.group_size} is not a multiple of branches {self.branches} x {self.noisy_count} "
                "stochastic steps, so that some of these would be learned less than others, or not at all"
            )

    def _refuse_noise_without_effect(self) -> None:
        if self.kind != "ode":
            return
        if self.same_latent:
            raise ValueError("same_latent with kind ode makes all pictures of a group one picture: set it to false")
        if self.keep_graph:
            raise ValueError("keep_graph has no effect with kind ode, which has no stochastic steps: set it to false")
        self._refuse(("noise_level", "window", "branches"), "kind ode, which draws no noise")
        if self.window_schedule != "random":
            raise ValueError(
                f"window_schedule {self.window_schedule} has no effect with kind ode, which has no window: set it to "
                "random"
            )

    def _refuse_moves_without_effect(self) -> None:
        schedule, moving = self.window_schedule, self.moving_window
        if moving is None:
            self._refuse(("window_stride", "window_every", "window_end"), "window_schedule random, which moves nothing")
        elif self.window is None:
            raise ValueError(f"window_schedule {schedule} needs a window to move: set window to a number of steps")
        elif self.window == self.last_window_step:
            raise ValueError(
                f"window_schedule {schedule} cannot move a window of {self.window} steps within as many: widen "
                "window_range, or set window_schedule to random"
            )
        if moving is not None and moving["decay_from"] is not None:
            self._refuse_decay_without_effect(**moving)

    def _refuse_decay_without_effect(self, every: int, stride: int, decay_from: int, restarts: bool) -> None:
        last = self.last_window_step - (self.window or 0)
        latest = last if restarts else max(range(0, last, stride))  # from where it stops it does not move on
        if math.ceil(every * math.exp(-0.1 * max(0, latest - decay_from))) == every:
            raise ValueError(
                f"window_schedule decay has no effect: it moves the window on sooner than every {every} training steps "
                f"only beyond denoising step {decay_from}, and its first step moves on from {latest} at most. Set "
                "it to progressive"
            )

    def _refuse(self, names: tuple[str, ...], without_effect: str) -> None:
        for name in names:
            if getattr(self, name) is not None:
                raise ValueError(f"{name} has no effect with {without_effect}: set {name} to null")

    @property
    def moving_window(self) -> dict[str, Any] | None:
        """What `sampling.MovingWindow` takes; None for a window at random."""
        if self.window_schedule == "random":
            return None
        return {
            "every": self.window_every or 25,
            "stride": self.window_stride or 1,
            "decay_from": math.ceil(self.steps / 2) if self.window_schedule == "decay" else None,  # 13 of 25
            "restarts": self.window_end == "restart",
        }

    @property
    def noisy_count(self) -> int:
        """Number of stochastic steps of a group."""
        return 0 if self.kind == "ode" else self.window or self.steps - 1

    @property
    def last_window_step(self) -> int:
        """Number of first steps in which the window may lie; the last step is never stochastic."""
        usual = max(1, self.steps // 2) if self.window_schedule == "random" else self.steps - 1
        return min(self.window_range or usual, self.steps - 1)
