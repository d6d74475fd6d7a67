"""The seam to text-to-image flow models, and everything about it that needs no particular family.

Conventions (as in SD3 and diffusers): sigma in [0, 1] is the noise level, x_sigma = (1 - sigma) * x0 + sigma * noise,
and the velocity is v = noise - x0. Latents and velocities are float32 whatever the weights' dtype.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch

from flowbench import images
from flowbench.errors import ConfigError, ModelError, NotFinite
from flowbench.models import adapter_files, finite, lora
from flowbench.models.adapter_config import DECIDING
from flowbench.models.settings import ModelSettings
from flowbench.sampling.solvers import solve
from flowbench.solver_names import check_solver, sampler_of
from flowbench.types import Prompt, Sample

if TYPE_CHECKING:
    from typing import Self

    from PIL import Image

Ragged = tuple[torch.Tensor, ...]
ConditionT = TypeVar("ConditionT", bound="Condition")


@dataclass(frozen=True)
class Condition:
    """B encoded prompts, a row each: the base of every family's own record.

    A subclass is a frozen dataclass, and each of its fields holds the rows: a tensor (B, ...) or, where rows differ in
    length, a tuple of B tensors.
    """

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def __getitem__(self, index: slice | torch.Tensor | list[int]) -> Self:
        """Rows by slice, list or tensor of numbers."""
        if isinstance(index, slice):
            return self._each(lambda tensor: tensor[index], lambda ragged: ragged[index])
        return self._each(lambda tensor: tensor[index], lambda ragged: tuple(ragged[int(row)] for row in index))

    def repeat(self, times: int) -> Self:
        """Each row `times` times, copies side by side: rows a, b become a, a, b, b."""
        return self._each(
            lambda tensor: tensor.repeat_interleave(times, dim=0),
            lambda ragged: tuple(row for row in ragged for _ in range(times)),
        )

    def to(self, device: torch.device | str) -> Self:
        """The same rows on another device."""
        return self._each(lambda tensor: tensor.to(device), lambda ragged: tuple(row.to(device) for row in ragged))

    @property
    def nbytes(self) -> int:
        """Of all rows."""
        columns = [getattr(self, field.name) for field in fields(self)]
        tensors = [tensor for rows in columns for tensor in ([rows] if isinstance(rows, torch.Tensor) else rows)]
        return sum(tensor.nbytes for tensor in tensors)

    @staticmethod
    def cat(parts: Sequence[ConditionT]) -> ConditionT:
        """All rows of all parts (one or more, of one kind), in order."""
        kind = type(parts[0])
        columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(kind)}
        return kind(
            **{
                name: torch.cat(column) if isinstance(column[0], torch.Tensor) else tuple(chain.from_iterable(column))
                for name, column in columns.items()
            }
        )

    def _each(self, of_tensor: Callable[[torch.Tensor], torch.Tensor], of_ragged: Callable[[Ragged], Ragged]) -> Self:
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        return type(self)(
            **{name: (of_tensor if isinstance(rows, torch.Tensor) else of_ragged)(rows) for name, rows in held.items()}
        )


class FlowModel(ABC, Generic[ConditionT]):
    """A text-to-image flow model: one subclass per family, one adapter ("default") at most.

    name, resolution, max_sequence_length, vocabulary, default_recipe, guidance, guidance_kind, fuse_adapter: see
    ModelSettings.
    source: what `load_model` was given for the base weights ("shapes", a hub id or an absolute folder).
    adapter_source: the same for its adapter ("" without one, or for one that was trained here).
    chosen_sequence_length: max_sequence_length where somebody, or the adapter, asked for it; None: the model's own.
    base_digest: twelve hex digits that change when the base weights do, or how they read a prompt.
    latent_shape: (C, h, w) of one latent. Weights are frozen; only adapter parameters are ever trained.
    """

    latent_shape: tuple[int, int, int]
    networks: Mapping[str, torch.nn.Module]
    """all that make a picture, by the names of their folders: their weights are checked and digested"""
    blocks: Sequence[torch.nn.Module] = ()
    """the transformer's repeated blocks, where most of the time goes"""
    transformer: Any
    """the one of them that takes the adapter: a diffusers transformer"""
    adapter_targets: dict[str, tuple[str, ...]]
    """named sets of LoRA targets (module name endings); "attention" is the default"""
    idle_layers: tuple[str, ...] = ()
    """linear layers whose output the network throws away: no gradient ever reaches an adapter there"""
    negative_prompt: str = ""
    """what guidance of the kind "cfg" leads away from"""

    def __init__(self, settings: ModelSettings, source: str, device: torch.device, dtype: torch.dtype):
        self.name = settings.name
        self.resolution = settings.resolution
        self.vocabulary = settings.vocabulary
        self.default_recipe = settings.default_recipe
        self.guidance_kind = settings.guidance_kind
        self.guidance = self.effective_guidance(settings.guidance)
        self.fuse_adapter = settings.fuse_adapter
        self.source = source
        self.device = device
        self.dtype = dtype
        self.max_sequence_length = settings.max_sequence_length
        self.chosen_sequence_length: int | None = None
        self.base_digest = ""
        self.adapter_source = ""

    # -- what a family provides --------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def from_folder(
        cls, folder: Path, settings: ModelSettings, source: str, device: torch.device, dtype: torch.dtype
    ) -> Self:
        """The model in a diffusers folder, from safetensors alone. Raises ModelError when it does not load.

        settings: the folder's. source: see the class. dtype: of the transformer and the text encoders.
        """

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> ConditionT:
        """One row per text, whatever stands beside it. No gradient; a text that occurs twice is encoded once."""

    @abstractmethod
    def sigmas(self, steps: int) -> torch.Tensor:
        """(steps + 1,) float32 on the CPU, from 1.0 down to 0.0: the model's own schedule for its size of pictures."""

    @abstractmethod
    def velocity(
        self, x: torch.Tensor, sigma: float | torch.Tensor, condition: ConditionT, *, guidance: float = 1.0
    ) -> torch.Tensor:
        """v (B, C, h, w) float32 at latents x and noise level sigma (a number, or (B,)).

        `guidance` is of the model's `guidance_kind`. With classifier-free guidance, the velocity for the negative
        prompt comes from the same batch, and gradient flows through both when it is enabled.
        """

    @abstractmethod
    def decode_pixels(self, latents: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> (B, 3, H, W) float32 in [0, 1], NaN where there is no finite number to clamp."""

    @abstractmethod
    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) in [0, 1], of the model's resolution -> latents (B, C, h, w) float32, without chance.

        The inverse of `decode_pixels`, as far as the VAE is one. Raises ConfigError for another size.
        """

    # -- what it says of itself --------------------------------------------------------------------------------------

    def effective_guidance(self, guidance: float) -> float:
        """The guidance that has the effect of this one: 1.0 wherever there is none. Raises ConfigError for NaN and
        infinities."""
        if not math.isfinite(guidance):
            raise ConfigError(f"guidance {guidance}: give a finite number.")
        if self.guidance_kind == "embedded":
            return float(guidance)
        return max(1.0, float(guidance)) if self.guidance_kind == "cfg" else 1.0

    def declares(self, guidance: float, solver: str = "euler") -> dict[str, Any]:
        """What an evaluation's card says of how its pictures are made when this guidance and solver are asked for."""
        return {
            "guidance": self.effective_guidance(guidance),
            "guidance_kind": self.guidance_kind,
            "sampler": sampler_of(solver),
            "negative_prompt": self.negative_prompt,
        }

    # -- latents and pictures ----------------------------------------------------------------------------------------

    def noise(self, seeds: Sequence[int]) -> torch.Tensor:
        """Initial latents (B, C, h, w) float32, one CPU generator per sample.

        Equal to what diffusers draws in float32 for `generator=[torch.Generator().manual_seed(s) for s in seeds]`;
        other sizes of batch or devices change nothing. (In 16-bit precision diffusers draws different numbers.)
        """
        rows = [torch.randn((1, *self.latent_shape), generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.cat(rows).to(self.device)

    @torch.no_grad()
    def sample_latents(
        self, condition: ConditionT, seeds: Sequence[int], *, steps: int, guidance: float = 1.0, solver: str = "euler"
    ) -> torch.Tensor:
        """Final latents (B, C, h, w) of the probability-flow ODE, in `steps` intervals of one of `sampling.SOLVERS`.

        "euler", the default: x + v * (sigma_next - sigma).
        """
        x, history = self.noise(seeds), None

        def velocity(at: torch.Tensor, sigma: float) -> torch.Tensor:
            return self.velocity(at, sigma, condition, guidance=guidance)

        with self.adapter_frozen():
            for sigma, sigma_next in pairwise(self.sigmas(steps).tolist()):
                v = velocity(x, sigma)
                x, history = solve(solver, x, v, sigma, sigma_next, history=history, velocity=velocity)
        return x

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> list[Image.Image | None]:
        """RGB pictures, `resolution` pixels square; None where latents or pixels are not finite."""
        pixels = self.decode_pixels(latents)
        sums = latents.flatten(1).sum(1) + pixels.flatten(1).sum(1)  # not finite where a number is not
        pictures = images.to_pil(pixels)
        return [
            picture if is_sound else None for picture, is_sound in zip(pictures, sums.isfinite().tolist(), strict=True)
        ]

    def not_finite(self, what: str, made: Sequence[Sample | None] = ()) -> NotFinite:
        """The error to raise where `what` came out not finite: it names the weight that is at fault, if one is."""
        weight = finite.unsound(self.networks)
        reason = (
            f"and so is its weight {weight}: load sound ones"
            if weight is not None
            else "though its weights are: use a dtype of larger range (bfloat16, float32), or an earlier adapter"
        )
        return NotFinite(f"model '{self.name}': {what} is not finite (NaN or infinite), {reason}.", made)

    def generate(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], *, steps: int, guidance: float, batch_size: int = 16,
        solver: str = "euler",
    ) -> list[Sample]:  # fmt: skip
        """One picture per (prompt, seed) by the ODE, in `steps` intervals of the solver: "euler", "heun", "dpmpp_2m".

        Up to rounding, `batch_size` does not change the pictures. Raises UnknownName for another solver, and NotFinite,
        which holds all others (`made`), when one of them would have come of numbers that are not.
        """
        if len(prompts) != len(seeds):
            raise ConfigError(f"generate: {len(prompts)} prompts but {len(seeds)} seeds. Give one seed per prompt.")
        if batch_size < 1:
            raise ConfigError(f"generate: batch_size {batch_size} is too small. Give 1 or more.")
        check_solver(solver)
        made: list[Sample | None] = []
        for start in range(0, len(prompts), batch_size):
            some, some_seeds = prompts[start : start + batch_size], seeds[start : start + batch_size]
            condition = self.encode([prompt.text for prompt in some])
            latents = self.sample_latents(condition, some_seeds, steps=steps, guidance=guidance, solver=solver)
            made += [
                None if picture is None else Sample(prompt, picture, seed)
                for prompt, picture, seed in zip(some, self.decode(latents), some_seeds, strict=True)
            ]
        samples = [sample for sample in made if sample is not None]
        if len(samples) < len(made):
            raise self.not_finite("a picture", made)
        return samples

    def compile(self, **options: Any) -> None:
        """Let torch.compile compile the blocks of the transformer, each at its first call; `options` are torch's."""
        for block in self.blocks:
            block.compile(**options)

    # -- the adapter -------------------------------------------------------------------------------------------------

    def add_adapter(
        self, rank: int, alpha: float, *, seed: int = 0, targets: str | Sequence[str] | None = None
    ) -> None:
        """Add a LoRA with B = 0: outputs stay exactly the base model's until B moves.

        A is drawn from N(0, 1/rank^2) by `seed` alone (PEFT's "gaussian", the published choice). `targets`: a name from
        `adapter_targets` ("attention" by default, "all-linear"), or endings of module names.
        """
        if lora.layers(self.transformer):
            raise ModelError(f"{self.name} already has an adapter. Load a fresh model before adding another.")
        for key, value in (("r", rank), ("lora_alpha", alpha)):
            is_right, wanted = DECIDING[key]
            if not is_right(value):
                raise ConfigError(f"adapter {'rank' if key == 'r' else 'alpha'} {value}: give {wanted}.")
        chosen = self._targets("attention" if targets is None else targets)
        self._attach({"r": rank, "lora_alpha": alpha, "target_modules": chosen})
        lora.initialise(self.transformer, seed)

    def adapter_parameters(self) -> dict[str, torch.nn.Parameter]:
        """Short name -> float32 parameter, sorted by name ({} without an adapter)."""
        return lora.parameters(self.transformer)

    def adapter_disabled(self) -> AbstractContextManager[None]:
        """Inside, the model is its base: the reference policy."""
        return lora.disabled(self.transformer)

    def adapter_frozen(self) -> AbstractContextManager[None]:
        """Promise that the adapter does not change inside: a fused adapter's weights are then computed only once.

        Forward passes with gradient ignore this and compute their own; the numbers are the same either way.
        """
        return lora.frozen(self.transformer)

    @property
    def base_identity(self) -> str:
        """The digest of the base weights with the dtype that they were read in: rounded weights have another digest."""
        return f"{self.base_digest} {self.dtype}"

    def save_adapter(self, folder: str | Path) -> Path:
        """Write the adapter so that `pipe.load_lora_weights(folder)` and `load_adapter` read it, alpha included."""
        if not lora.layers(self.transformer):
            raise ModelError(f"{self.name} has no adapter to save. Call add_adapter or load_adapter first.")
        tensors = {name: parameter.detach().cpu() for name, parameter in self.adapter_parameters().items()}
        config = lora.config(self.transformer)
        return adapter_files.write(
            Path(folder), tensors, config,
            base=self.source, identity=self.base_identity, tokens=self.chosen_sequence_length,
        )  # fmt: skip

    def load_adapter(self, folder: str | Path) -> None:
        """Read an adapter that `save_adapter`, diffusers or PEFT wrote.

        A model that has an adapter already takes the values into the same parameters (so that an optimizer keeps its
        hold on them); rank, alpha and targets must then agree.
        """
        tensors, config = adapter_files.read(Path(folder))
        if not lora.layers(self.transformer):
            self._attach(config)
        elif not lora.same_shape(lora.config(self.transformer), config):
            raise ModelError(
                f"{folder}: its rank or alpha differ from those of the adapter in use. Load a fresh model."
            )
        lora.set_parameters(self.transformer, tensors, str(folder))

    def _attach(self, config: dict[str, object]) -> None:
        # A sum of two weights in 16 bits would round a small adapter away: only float32 weights are fused.
        lora.attach(self.transformer, config, fuse=self.fuse_adapter and self.dtype == torch.float32)

    def _targets(self, targets: str | Sequence[str]) -> list[str]:
        linear = [name for name, module in self.transformer.named_modules() if isinstance(module, torch.nn.Linear)]
        if isinstance(targets, str):
            if targets not in self.adapter_targets:
                known = ", ".join(sorted(self.adapter_targets))
                raise ConfigError(f"adapter targets '{targets}': unknown. Known: {known}, or a list of module names.")
            return [target for target in self.adapter_targets[targets] if any(_matches(linear, target))]
        for target in targets:
            if not any(_matches(linear, target)):
                raise ConfigError(f"adapter target '{target}': {self.name} has no linear layer whose name ends so.")
        return list(targets)


def weights_digest(modules: Iterable[torch.nn.Module], *, setting: str = "", head: int = 4096) -> str:
    """Twelve hex digits of the SHA-256 over `setting` and the first `head` values of every tensor: training moves them
    all, and a large model is digested at once."""
    total = hashlib.sha256(setting.encode())
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            total.update(f"{name}{tuple(tensor.shape)}".encode())
            total.update(tensor.flatten()[:head].float().cpu().numpy().tobytes())
    return total.hexdigest()[:12]


def _matches(names: Sequence[str], ending: str) -> Iterator[bool]:
    return (name == ending or name.endswith(f".{ending}") for name in names)
