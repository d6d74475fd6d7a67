"""Every setting of a training run: YAML (a file or a shipped recipe) + `a.b=c` overrides -> one frozen tree.

Unknown keys are refused with the closest known one. Library functions get plain values or one sub-config, never the
whole tree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from flowbench import bounds
from flowbench.errors import ConfigError, MissingFile, UnknownName
from flowbench.monitor_config import MonitorConfig
from flowbench.objective_config import (
    BUILT_IN,
    DEFAULT,
    AnyObjectiveConfig,
    FlowGRPOConfig,
    Frozen,
    ObjectiveSettings,
    config_of,
    objective_configs,
)
from flowbench.objective_presets import PRESETS
from flowbench.overrides import set_override
from flowbench.recipe_files import RECIPES, recipe_names
from flowbench.registry import did_you_mean
from flowbench.reward_config import RewardConfig, Text
from flowbench.rollout_config import RolloutConfig
from flowbench.yaml_text import parse_yaml


class ModelConfig(Frozen):
    """Which model is trained, and how it is held in memory."""

    name: Text = "shapes"
    """`shapes`, a Hugging Face id, or a diffusers folder."""
    device: Text = "auto"
    """`auto` (cuda when there is one, else cpu), `cpu`, `cuda`, `cuda:1`, `mps`."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Dtype of the frozen weights; the adapter, the latents and the log-probs stay in float32."""
    max_sequence_length: int | None = Field(None, ge=0, le=bounds.TOKENS)
    """Tokens per prompt (of SD3, T5's); null: the model's own number. A checkpoint knows it."""
    compile: bool = False
    """Compile the transformer's blocks (torch.compile): minutes at the start, less time in every step of a GPU."""


class AdapterConfig(Frozen):
    """The LoRA adapter, the only thing that is trained."""

    rank: int = Field(32, ge=1, le=bounds.RANK)
    alpha: float = Field(64.0, gt=0, le=bounds.NUMBER)
    """The update is scaled by alpha / rank."""
    targets: Literal["attention", "all-linear"] = "attention"
    """Which linear layers carry an adapter."""
    start: Text | None = None
    """An adapter to begin from: a run, a checkpoint, an adapter's folder or a hub id; null: a fresh one, B = 0."""
    reference: Literal["base", "start"] = "base"
    """The policy from which a KL or a preference is measured: the base model, or that with the adapter of `start`."""
    reference_guidance: float | None = Field(None, ge=1, le=bounds.GUIDANCE)
    """Guidance of that policy, which is then a teacher: what guidance gives is learned from it; null: the rollout's."""

    @model_validator(mode="after")
    def _has_a_start(self) -> AdapterConfig:
        if self.reference == "start" and self.start is None:
            raise ValueError("reference start has no effect without adapter.start: name an adapter there")
        return self


class PromptsConfig(Frozen):
    """Where training prompts come from."""

    name: Text = "shapes"
    """A prompt set, or a file (.txt, .csv, .jsonl)."""
    tag_weights: dict[str, Annotated[float, Field(ge=0, le=bounds.NUMBER)]] | None = None
    """How often each tag is drawn; without it, every prompt is equally likely."""

    @field_validator("tag_weights")
    @classmethod
    def _weights(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        if value is not None and sum(value.values()) <= 0:
            raise ValueError("weights must not all be 0")
        return value


class OptimizerConfig(Frozen):
    """AdamW, its schedule, and the moving average that is evaluated."""

    lr: float = Field(3e-4, gt=0, le=bounds.LEARNING_RATE)
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """After the warm-up: constant, or falling to 0 at the end of the run."""
    warmup: int = Field(0, ge=0, le=bounds.STEPS)
    """Training steps of linear warm-up."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    eps: float = Field(1e-15, gt=0, le=1)
    """Below the usual 1e-8: per-parameter gradients of this objective can be 5e-9."""
    weight_decay: float = Field(1e-4, ge=0, le=bounds.NUMBER)
    max_grad_norm: float = Field(1.0, gt=0, le=bounds.NUMBER)
    updates: int = Field(2, ge=1, le=bounds.AT_ONCE)
    """Optimizer steps per training step, each on its share of the groups."""
    ema_decay: float = Field(0.9, ge=0, lt=1)
    """The average's decay is min((1 + n) / (10 + n), this)."""
    ema_every: int = Field(8, ge=1, le=bounds.STEPS)
    """Optimizer steps between updates of the average."""
    fused: bool = True
    """All parameters of a step in one call (the same numbers to rounding); false: one after the other."""


class TrainConfig(Frozen):
    """A complete training run."""

    model: ModelConfig = ModelConfig()
    adapter: AdapterConfig = AdapterConfig()
    prompts: PromptsConfig = PromptsConfig()
    reward: RewardConfig = RewardConfig()
    rollout: RolloutConfig = RolloutConfig()
    objective: SerializeAsAny[ObjectiveSettings] = FlowGRPOConfig()
    """Of the class that `objective.name` names."""
    optimizer: OptimizerConfig = OptimizerConfig()
    monitor: MonitorConfig = MonitorConfig()
    data: Text | None = None
    """A table of pictures to learn from (.csv, .tsv, .jsonl, .parquet); null: the model's own, by their rewards."""
    steps: int = Field(300, ge=1, le=bounds.STEPS)
    """Training steps."""
    seed: int = Field(0, ge=0, le=bounds.SEED)
    save_every: int = Field(50, ge=1, le=bounds.STEPS)
    """Training steps between checkpoints."""
    keep: int = Field(3, ge=1, le=bounds.STEPS)
    """Checkpoints kept; older ones are deleted."""
    sample_every: int = Field(50, ge=1, le=bounds.STEPS)
    """Training steps between sample grids."""
    eval_every: int | None = Field(None, ge=1, le=bounds.STEPS)
    """Training steps between evaluations of the averaged policy on the dev split; null: none."""
    keep_best: Text | None = None
    """A figure of these evaluations, of which more is better: its best checkpoint is kept beside the newest, and is the
    one that `eval --ckpt RUN` takes; null: that is the newest."""
    patience: int | None = Field(None, ge=1, le=bounds.STEPS)
    """Evaluations in a row without a better one, after which the run ends; null: it takes all its steps."""
    out: Text = "runs/train"
    """The run folder."""

    @field_validator("objective", mode="before")
    @classmethod
    def _of_its_own_class(cls, value: Any, info: ValidationInfo) -> Any:
        """Raises UnknownName, unless the context says that any objective will do."""
        if not isinstance(value, Mapping):
            return value
        name = str(value.get("name", DEFAULT))
        if name in PRESETS and name not in objective_configs:
            stands_for = PRESETS[name].objective["name"]
            raise UnknownName(
                f"'{name}' is no objective.name: it stands for {stands_for} and a rollout under settings of its own. "
                f"Choose it by --objective {name}; `flowbench show {name}` has the settings."
            )
        if info.context and name not in objective_configs:
            return AnyObjectiveConfig.model_validate(value)
        return config_of(name).model_validate(value)

    def _never(self) -> str:
        """What is set for later steps than there are, in a sentence; "" where all can come to pass."""
        steps, monitor = self.steps, self.monitor
        late = [stage.step for stage in self.reward.schedule if stage.step is not None and stage.step > steps]
        if late:
            return f"reward.schedule has a stage at step {late[0]}, and steps is {steps}: it would never begin"
        if self.keep_best is not None and self.eval_every is not None and self.eval_every > steps:
            return (
                f"keep_best compares evaluations, and with eval_every {self.eval_every} of {steps} steps there is none"
            )
        if monitor.on_alarm != "warn" and monitor.every is not None and 2 * monitor.every > steps:
            return (
                f"monitor.on_alarm {monitor.on_alarm} has no effect: an alarm takes two looks, and there are not two "
                f"every {monitor.every} of {steps} steps"
            )
        return ""

    @model_validator(mode="after")
    def _divides(self) -> TrainConfig:
        bundle, updates = self.rollout.bundle, self.optimizer.updates
        if self.rollout.groups % (bundle * updates):
            bundles = f"rollout.bundle {bundle} x " if bundle > 1 else ""
            raise ValueError(
                f"rollout.groups {self.rollout.groups} is not a multiple of {bundles}optimizer.updates {updates}"
            )
        if self.keep_best is not None and self.eval_every is None:
            raise ValueError("keep_best compares evaluations, and eval_every is null: set it to a number of steps")
        if self.patience is not None and self.keep_best is None:
            raise ValueError("patience waits for a better evaluation, and keep_best is null: name a figure there")
        if misfit := self._never() or self.objective.misfit(self.rollout.model_dump()):
            raise ValueError(misfit)
        if self.data is not None and (misfit := self.objective.misfit_of_data()):
            raise ValueError(misfit)
        if self.data is not None and self.reward.schedule:
            raise ValueError("reward.schedule has no effect with data, of which no reward is asked: leave it out")
        if self.data is not None and self.prompts.tag_weights is not None:
            raise ValueError("prompts.tag_weights has no effect with data, whose rows are all drawn: set it to null")
        for setting, given in (
            ("reference start", self.adapter.reference == "start"),
            ("reference_guidance", self.adapter.reference_guidance is not None),
        ):
            if given and not self.objective.uses_reference():
                raise ValueError(
                    f"adapter.{setting} has no effect: objective {self.objective.name} under these settings measures "
                    "no distance from a reference (objective.kl_weight is 0)"
                )
        return self


def check_share(config: TrainConfig, processes: int) -> None:
    """Raises ConfigError unless the bundles of each update can be dealt to that many processes."""
    share = config.optimizer.updates * config.rollout.bundle
    if config.rollout.groups // share % processes:
        bundles = f" and bundles of {config.rollout.bundle}" if config.rollout.bundle > 1 else ""
        raise ConfigError(
            f"rollout.groups {config.rollout.groups} cannot be dealt to {processes} processes in "
            f"{config.optimizer.updates} updates{bundles}. Make it a multiple of {share * processes}."
        )


def read_yaml(name: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file, or in the shipped recipe of that name."""
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = RECIPES / f"{name}.yaml"
        if not path.is_file():
            known = recipe_names()
            raise ConfigError(
                f"unknown recipe '{name}'.{did_you_mean(str(name), known)} "
                f"Known: {', '.join(known)}; or give a .yaml file."
            )
    if not path.is_file():
        raise MissingFile(f"{path}: there is no such configuration file.")
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}. Mend it.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text file in UTF-8 (byte {error.start}). Give a YAML file.") from error
    if not isinstance(tree, dict):
        what = "empty" if tree is None else f"a {type(tree).__name__}"
        raise ConfigError(f"{path}: a configuration is a mapping of keys to values, and this is {what}.")
    return tree


def load_config(
    source: str | Path | Mapping[str, Any], overrides: Sequence[str] = (), *, any_objective: bool = False
) -> TrainConfig:
    """A recipe name, a YAML file or a mapping, then `a.b=c` overrides (values are YAML). Raises ConfigError, and
    UnknownName for an objective that is not here (`any_objective`: it is read without its settings being checked)."""
    tree = dict(source) if isinstance(source, Mapping) else read_yaml(source)
    for override in overrides:
        set_override(tree, override)
    return parse(TrainConfig, tree, any_objective=any_objective)


def parse(kind: type[TrainConfig], tree: Mapping[str, Any], *, any_objective: bool = False) -> TrainConfig:
    """Validate; the first mistake becomes one sentence that names the key and what is allowed."""
    try:
        return kind.model_validate(tree, context=any_objective)
    except ValidationError as error:
        chosen = tree.get("objective")
        name = chosen.get("name", DEFAULT) if isinstance(chosen, Mapping) else DEFAULT
        raise ConfigError(_sentence(error, str(name))) from None


def to_yaml(config: TrainConfig) -> str:
    """The whole resolved configuration, in the order in which it is defined."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def setting_names(objective: str = DEFAULT) -> list[str]:
    """All dotted keys, those of `objective.` being of that objective."""
    names: list[str] = []
    for name, field in TrainConfig.model_fields.items():
        kind = config_of(objective) if name == "objective" else field.annotation
        nested = isinstance(kind, type) and issubclass(kind, BaseModel)
        names += [f"{name}.{key}" for key in kind.model_fields] if nested else [name]  # type: ignore[union-attr]
    return names


def _sentence(error: ValidationError, objective: str) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        owners = [each for each in BUILT_IN if key.startswith("objective.") and key in setting_names(each)]
        if owners:
            return (
                f"setting '{key}' belongs to objective {' and '.join(owners)}, not to {objective}. Leave it out, or "
                f"choose the objective with its defaults by --objective {owners[0]}."
            )
        guess = did_you_mean(key, [*TrainConfig.model_fields, *setting_names(objective)])
        return f"unknown setting '{key}'.{guess} See docs/configuration.md for all settings."
    message = first["msg"].removeprefix("Value error, ")
    if not key:  # of settings that do not fit together: the message names them
        return f"{message}."
    shown = "" if isinstance(first.get("input"), Mapping) else f" (it is {first.get('input')!r})"
    one_of = re.findall("'([^']+)'", message) if first["type"] == "literal_error" else []
    return f"setting '{key}'{shown}: {message[:1].lower()}{message[1:]}.{did_you_mean(str(first.get('input')), one_of)}"
