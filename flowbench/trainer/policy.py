"""The policy as an objective sees it: velocities of the live weights, of a shadow, and of the reference."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from flowbench.models.base import Condition, FlowModel
from flowbench.trainer.learner import START, Learner

TEXTS_AT_MOST = 1 << 30
"""bytes of encoded prompts that are kept, in the machine's memory: 400 of SD3.5's longest"""


class Policy:
    """A model with its adapter under training; the guided velocity is the policy."""

    def __init__(self, model: FlowModel, learner: Learner, guidance: float, *, reference_guidance: float | None = None):
        """guidance: of the policy, and of the reference unless that has one of its own."""
        self.model = model
        self.learner = learner
        self.guidance = guidance
        self.reference_guidance = guidance if reference_guidance is None else reference_guidance
        self._texts: OrderedDict[str, Condition] = OrderedDict()
        self._bytes = 0

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Condition:
        """One row per text, on the model's device. What a text is encoded as is kept, and used when it comes again."""
        rows = {text: self._encoded(text) for text in dict.fromkeys(texts)}
        return Condition.cat([rows[text] for text in texts]).to(self.model.device)

    def _encoded(self, text: str) -> Condition:
        if text not in self._texts:
            row = self.model.encode([text]).to("cpu")
            self._texts[text] = row
            self._bytes += row.nbytes
            while self._bytes > TEXTS_AT_MOST and len(self._texts) > 1:
                self._bytes -= self._texts.popitem(last=False)[1].nbytes
        self._texts.move_to_end(text)
        return self._texts[text]

    def velocity(self, x: torch.Tensor, sigma: float | torch.Tensor, condition: Condition) -> torch.Tensor:
        """v (B, C, h, w) float32 at latents x (B, C, h, w), a row of `condition` for each; sigma: a number or (B,)."""
        return self.model.velocity(x, sigma, condition, guidance=self.guidance)

    @contextmanager
    def using(self, weights: str) -> Iterator[None]:
        """Inside, without gradient, the weights are those of a shadow, or the live ones ("live")."""
        with torch.no_grad(), self.learner.using(weights):
            yield

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Inside, without gradient, the model is its base, or has the adapter that the run began from where that is
        the reference (`adapter.reference`); and guidance is the reference's (`adapter.reference_guidance`)."""
        weights = self.using(START) if START in self.learner.shadows else self.model.adapter_disabled()
        own = self.guidance
        with torch.no_grad(), weights:
            self.guidance = self.reference_guidance
            try:
                yield
            finally:
                self.guidance = own

    def has_moved(self) -> bool:
        """Whether the policy is no longer the reference: other weights, or, from the beginning, another guidance."""
        if self.reference_guidance != self.guidance:
            return True
        start = self.learner.weights.get(START)
        if start is None:
            return any(bool(each.any()) for name, each in self.learner.parameters.items() if "lora_B" in name)
        return any(not torch.equal(each, start[name]) for name, each in self.learner.parameters.items())

    @property
    def gradient_scale(self) -> int:
        """Elements of a latent: what the loss is multiplied by on its way back.

        Losses are means over them, so the gradient at each is around 1e-5 in a large latent, and near the smallest
        float16 number after the division by the samples of an update. Scaled, it is around 1 in every dtype.
        """
        return math.prod(self.model.latent_shape)
