"""The settings of rewards: which, with which weights, from when on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from flowbench import bounds
from flowbench.objective_config import Frozen
from flowbench.registry import did_you_mean


def _said(text: str) -> str:
    """Names and paths: something, and on one line."""
    if not text.strip() or any(sign < " " or sign == "\x7f" for sign in text):
        raise ValueError("give a name or a path: neither blanks alone nor control characters")
    return text


Text = Annotated[str, AfterValidator(_said)]


def check_weights(weights: Mapping[str, Any]) -> None:
    """Raise ValueError for a weight that is no finite number."""
    for name, weight in weights.items():
        is_number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not is_number or not abs(weight) <= bounds.NUMBER:  # NaN is not
            raise ValueError(
                f"the weight of {name} is {weight!r}: give a finite number (at most {bounds.NUMBER:g}); 0 only "
                "watches it"
            )


class RewardStage(Frozen):
    """Weights in place of those before it, from a training step on or once a reward has reached a level."""

    weights: dict[Text, float] = Field(min_length=1)
    """Those that change, by reward."""
    step: int | None = Field(None, ge=2, le=bounds.STEPS)
    """The training step, counted from 1, from which on they hold."""
    when: Text | None = None
    """A reward, or a part of one (`geneval/official`), whose mean over the last ten steps ..."""
    reaches: float | None = Field(None, ge=-bounds.NUMBER, le=bounds.NUMBER)
    """... is at least this: they hold from the step after."""

    @field_validator("weights", mode="before")
    @classmethod
    def _finite(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            check_weights(value)
        return value

    @model_validator(mode="after")
    def _begins_once(self) -> RewardStage:
        if (self.when is None) != (self.reaches is None):
            raise ValueError("when and reaches go together: the name of a reward, and the level of its mean")
        if (self.step is None) == (self.when is None):
            raise ValueError("a stage begins at a step, or when a reward reaches a level: give one of the two")
        return self


class RewardConfig(Frozen):
    """What is maximised."""

    name: Text | dict[Text, float] = "geneval"
    """One reward, or several with their weights (weight 0: logged only)."""
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options by reward name, e.g. `{geneval: {extra_price: 0.4}}`."""
    combine: Literal["raw", "scaled", "zscore", "rank"] = "raw"
    """How several rewards are added: values, values as published training scales them, or compared within the group."""
    on_error: Literal["raise", "skip"] = "raise"
    """`skip`: a failed picture is unscored and takes no part in the update."""
    timeout: float | None = Field(None, gt=0, le=bounds.SECONDS)
    """Seconds for one call of a reward; null: no limit. What takes longer has failed."""
    max_error_rate: float = Field(1.0, ge=0, le=1)
    """The run stops when more than this share of a step's pictures is unscored; 1: never."""
    cache: bool = True
    """Keep the scores of slow rewards on this machine, and use those that are kept there."""

    schedule: tuple[RewardStage, ...] = ()
    """Other weights from later steps on, one stage after the other."""

    @field_validator("name", mode="before")
    @classmethod
    def _some(cls, value: Any) -> Any:
        if not value:
            raise ValueError("name at least one reward, see `flowbench list rewards`")
        if not isinstance(value, (str, Mapping)):
            raise ValueError("give one name, or names with weights: {geneval: 1, jpeg: 0.1}")
        if isinstance(value, str):
            return value
        check_weights(value)
        return value

    @model_validator(mode="after")
    def _stages_fit(self) -> RewardConfig:
        if not self.schedule:
            return self
        if isinstance(self.name, str):
            raise ValueError(
                f"schedule changes weights, and name has none: write {{{self.name}: 1, jpeg: 0}}, for example"
            )
        last, weights = 1, dict(self.name)
        for number, stage in enumerate(self.schedule, start=1):
            for named in [*stage.weights, *([stage.when.partition("/")[0]] if stage.when else [])]:
                if named not in self.name:
                    raise ValueError(
                        f"stage {number} of schedule names '{named}', which is no reward of this run."
                        f"{did_you_mean(named, self.name)} Known: {', '.join(self.name)}"
                    )
            if stage.step is not None and stage.step <= last:
                raise ValueError(
                    f"stage {number} of schedule begins at step {stage.step}, the one before it at {last}: put them "
                    "in order"
                )
            last, weights = stage.step or last, weights | stage.weights
            if not any(weights.values()):
                raise ValueError(f"from stage {number} of schedule on all weights are 0, so that nothing is learned")
        return self
