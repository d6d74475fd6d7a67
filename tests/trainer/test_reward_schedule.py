"""Weights that change during a run: when a stage begins, what it changes, that a resumed run knows where it is."""

from __future__ import annotations

import math

import pytest
import tiny_runs

from flowbench import Score, rewards
from flowbench.config import load_config
from flowbench.errors import ConfigError
from flowbench.reward_config import RewardConfig, RewardStage
from flowbench.trainer import train
from flowbench.trainer.reward_schedule import RewardSchedule, check_parts

BOTH = {"tests_brightness": 1.0, "tests_shade_left": 0.0}


@rewards.register("tests_shade_left")
def darkness():
    """One less the mean of all pixels."""
    bright = rewards.registry.get("tests_brightness")()
    return lambda samples: [Score(1 - score.value) for score in bright(samples)]


def schedule(*stages):
    reward = rewards.build(BOTH)
    config = RewardConfig.model_validate({"name": BOTH, "schedule": stages})
    return reward, RewardSchedule(reward, config.schedule)


def test_a_stage_begins_with_its_step_and_keeps_the_other_weights():
    reward, found = schedule({"step": 3, "weights": {"tests_shade_left": 0.5}}, {"step": 5, "weights": BOTH})
    weights = []
    for step in range(6):
        said = found.begin(step)
        assert bool(said) == (step in (2, 4))
        weights.append(dict(reward.weights))
        assert found.note({})["reward/stage"] == (step >= 2) + (step >= 4)
    mixed = {"tests_brightness": 1.0, "tests_shade_left": 0.5}
    assert weights == [BOTH, BOTH, mixed, mixed, BOTH, BOTH]


def test_a_stage_begins_after_ten_steps_whose_mean_reaches_its_level():
    """1 to 10 have the mean 5.5; a step of which nothing is known neither counts nor begins anew."""
    reward, found = schedule({"when": "tests_brightness", "reaches": 5.5, "weights": {"tests_shade_left": 2}})
    values = [*range(1, 6), math.nan, *range(6, 11)]
    for step, value in enumerate(values):
        assert found.begin(step) == [] and reward.weights == BOTH
        found.note({"reward/tests_brightness": float(value)})
    assert found.begin(len(values)) == ["from step 12 on stage 1 of reward.schedule holds: tests_shade_left 2"]
    assert reward.weights["tests_shade_left"] == 2


def test_the_last_ten_steps_count_and_no_others():
    """Five steps at 10 and then 0: the mean of ten is at most 5."""
    _, found = schedule({"when": "tests_brightness", "reaches": 5.1, "weights": {"tests_shade_left": 2}})
    for step in range(30):
        assert found.begin(step) == []
        found.note({"reward/tests_brightness": 10.0 if step < 5 else 0.0})


def test_stages_wait_for_one_another():
    reward, found = schedule(
        {"when": "tests_brightness", "reaches": 1, "weights": {"tests_shade_left": 2}},
        {"step": 4, "weights": {"tests_brightness": 0}},
    )
    for step in range(10):
        assert found.begin(step) == []
        found.note({"reward/tests_brightness": 1.0})
    assert len(found.begin(10)) == 2  # the second one's step has gone by
    assert reward.weights == {"tests_brightness": 0, "tests_shade_left": 2}


def test_its_state_is_all_that_it_knows():
    stages = (
        {"step": 2, "weights": {"tests_shade_left": 3}},
        {"when": "tests_brightness", "reaches": 1, "weights": {"tests_brightness": 4}},
    )
    _, found = schedule(*stages)
    for step in range(8):
        found.begin(step)
        found.note({"reward/tests_brightness": 2.0})
    reward, again = schedule(*stages)
    again.restore(found.state())
    assert reward.weights == {"tests_brightness": 1, "tests_shade_left": 3}
    for step in range(8, 20):
        assert again.begin(step) == found.begin(step)
        assert again.note({"reward/tests_brightness": 0.5}) == found.note({"reward/tests_brightness": 0.5})


@pytest.mark.parametrize(
    ("stages", "name", "says"),
    [
        ([{"weights": {"tests_shade_left": 1}}], BOTH, "a stage begins at a step, or when a reward reaches a level"),
        ([{"step": 5, "when": "a", "reaches": 1, "weights": BOTH}], BOTH, "give one of the two"),
        ([{"when": "tests_brightness", "weights": BOTH}], BOTH, "when and reaches go together"),
        (
            [{"step": 5, "weights": {"tests_shade_lef": 1}}],
            BOTH,
            "no reward of this run. Did you mean 'tests_shade_left'",
        ),
        ([{"when": "jpeg/x", "reaches": 1, "weights": BOTH}], BOTH, "names 'jpeg', which is no reward of this run"),
        ([{"step": 5, "weights": BOTH}, {"step": 5, "weights": BOTH}], BOTH, "put them in order"),
        ([{"step": 5, "weights": {"tests_brightness": 0}}], BOTH, "from stage 1 of schedule on all weights are 0"),
        ([{"step": 5, "weights": {"jpeg": 1}}], "jpeg", "schedule changes weights, and name has none"),
        ([{"step": 1, "weights": BOTH}], BOTH, "greater than or equal to 2"),
        ([{"step": 5, "weights": {"tests_shade_left": math.inf}}], BOTH, "give a finite number"),
        ([{"step": 5, "weights": {}}], BOTH, "at least 1 item"),
    ],
)
def test_what_is_refused(stages, name, says):
    with pytest.raises(ConfigError) as caught:
        load_config({"reward": {"name": name, "schedule": stages}})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_changes_its_weights_and_a_resumed_one_goes_on_with_them(pipeline, tmp_path, monkeypatch):
    stages = [{"step": 2, "weights": {"tests_brightness": 0, "tests_shade_left": 1}}]
    settings = {"steps": 4, "save_every": 3, "reward": {"name": BOTH, "schedule": stages}}
    whole = train(tiny_runs.config(pipeline, tmp_path / "whole", **settings))
    log = tiny_runs.log_without_timing(whole)
    assert [line["reward/stage"] for line in log] == [0, 1, 1, 1]
    weighted = ["tests_brightness", *["tests_shade_left"] * 3]
    assert [line["reward/mean"] for line in log] == [
        pytest.approx(line[f"reward/{name}"]) for line, name in zip(log, weighted, strict=True)
    ]
    with tiny_runs.power_cut(monkeypatch, after=14):
        train(tiny_runs.config(pipeline, tmp_path / "run", **settings))
    run = train(tiny_runs.config(pipeline, tmp_path / "run", **settings), resume=True)
    assert tiny_runs.log_without_timing(run) == log
    assert tiny_runs.adapter_bytes(run) == tiny_runs.adapter_bytes(whole)
    assert tiny_runs.trainer_state(run) == tiny_runs.trainer_state(whole)


def test_a_part_that_no_card_names_would_never_come():
    stage = RewardStage(when="geneval/exclusiv", reaches=0.5, weights={"geneval": 0.5})
    with pytest.raises(ConfigError, match=r"geneval has no such part\. Did you mean 'exclusive'"):
        check_parts([RewardStage(step=4, weights={"geneval": 0.5}), stage])
    check_parts([RewardStage(when="geneval/exclusive", reaches=0.5, weights={"geneval": 0.5})])


def test_a_level_above_the_rewards_highest_would_never_come():
    with pytest.raises(ConfigError, match=r"stage 1 .* waits until geneval reaches 1\.5, and its highest is 1"):
        check_parts([RewardStage(when="geneval", reaches=1.5, weights={"geneval": 0.5})])
    check_parts([RewardStage(when="geneval", reaches=1.0, weights={"geneval": 0.5})])


def test_a_stage_after_the_last_step_would_never_begin():
    changes = ["reward.name={geneval: 1, jpeg: 0}", "reward.schedule=[{step: 161, weights: {jpeg: 1}}]"]
    with pytest.raises(ConfigError, match="a stage at step 161, and steps is 160: it would never begin"):
        load_config("shapes-geneval", changes)
    assert load_config("shapes-geneval", [*changes, "steps=161"]).reward.schedule


def test_no_schedule_without_rewards():
    changes = [
        "data=pairs.jsonl",
        "prompts.tag_weights=null",
        "reward.name={jpeg: 1, geneval: 0}",
        "objective.refresh_every=null",
    ]
    with pytest.raises(ConfigError, match=r"reward\.schedule has no effect with data"):
        load_config(
            "shapes-sft", [*changes, "objective.refresh_every=null", "reward.schedule=[{step: 3, weights: {jpeg: 2}}]"]
        )
