"""What a run is fed: its prompts and the groups drawn from them, its reward, the words that all of them share."""

from __future__ import annotations

from flowbench import prompts, rewards
from flowbench.config import TrainConfig
from flowbench.errors import ConfigError
from flowbench.models.base import FlowModel
from flowbench.prompts.examples import examples_of
from flowbench.trainer.data_rollout import ExampleSampler
from flowbench.trainer.groups import GroupSampler
from flowbench.trainer.monitor import judges
from flowbench.trainer.reward_schedule import check_parts
from flowbench.types import Prompt


def source_of(config: TrainConfig) -> tuple[list[Prompt], GroupSampler | ExampleSampler, str]:
    """The training prompts, what draws the groups of a step from them, and the digest of a data file. Raises, as what
    reads them does, before anything heavy is loaded."""
    judges.check(config)
    if config.data is not None:
        examples = examples_of(config)
        return examples.prompts, ExampleSampler(examples, config.rollout, config.seed), examples.digest
    training = prompts.load(config.prompts.name, "train")
    sampler = GroupSampler(training, config.rollout, config.prompts.tag_weights, config.seed)
    rewards.check(config.reward.name, config.reward.options)
    check_parts(config.reward.schedule)
    return training, sampler, ""


def reward_of(config: TrainConfig, vocabulary: str) -> rewards.Reward:
    reward = config.reward
    return rewards.build(
        reward.name, vocabulary=vocabulary, options=reward.options, combine=reward.combine,
        on_error=reward.on_error, timeout=reward.timeout, cache=reward.cache,
    )  # fmt: skip


def highest_reward(config: TrainConfig) -> float | None:
    """What the one trained reward can be at most, by its card; None where that is not known, or not above 0."""
    name = config.reward.name
    if config.data is not None or not isinstance(name, str):
        return None
    card = rewards.registry.card(name)
    return card.high if card is not None and card.high is not None and card.high > 0 else None


def vocabulary_of(config: TrainConfig, model: FlowModel) -> str:
    """The object names that prompts, reward and model share. Raises ConfigError when prompts and model differ."""
    vocabulary = prompts.find(config.prompts.name).vocabulary or model.vocabulary
    if vocabulary != model.vocabulary:
        raise ConfigError(
            f"prompts.name {config.prompts.name} speaks of {vocabulary}, the model {model.name} knows "
            f"{model.vocabulary}. Choose prompts that fit, for example a file of your own: --prompts FILE."
        )
    return vocabulary


def unseen_prompts(prompt_set: str, training: list[Prompt]) -> list[Prompt]:
    """The dev split; the training prompts where there is none."""
    try:
        return prompts.load(prompt_set, "dev")
    except ConfigError:
        return training
