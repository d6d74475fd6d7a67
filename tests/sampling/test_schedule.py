"""Schedules against diffusers; windows of stochastic steps."""

from __future__ import annotations

import math
from collections import Counter
from itertools import groupby

import pytest
import torch

from flowbench.errors import ConfigError
from flowbench.sampling import MovingWindow, flow_match, shifted, stochastic_steps

PLACE = {"seed": 0, "step": 0, "group": 0}


def test_shifted_by_hand():
    assert shifted(0.5, 3.0) == 0.75  # 3 * .5 / (1 + 2 * .5)
    assert shifted(0.3, 1.0) == 0.3
    assert shifted(torch.tensor([0.0, 0.5, 1.0]), 3.0).tolist() == [0.0, 0.75, 1.0]


@pytest.mark.parametrize("shift", [1.0, 1.15, 3.0, 12.0])
@pytest.mark.parametrize("num_train_timesteps", [1000, 250])
def test_flow_match_equals_diffusers_to_the_bit(shift, num_train_timesteps):
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=num_train_timesteps, shift=shift)
    for steps in (1, 2, 6, 10, 28, 40, 50):
        scheduler.set_timesteps(steps)
        ours = flow_match(steps, shift=shift, num_train_timesteps=num_train_timesteps)
        assert ours.dtype == torch.float32
        assert torch.equal(ours, scheduler.sigmas), f"{steps} steps"


def test_flow_match_starts_at_exactly_one_and_ends_at_exactly_zero():
    sigmas = flow_match(10)
    assert sigmas[0] == 1 and sigmas[-1] == 0
    assert (sigmas.diff() < 0).all()


@pytest.mark.parametrize("steps", [0, -3, 2.5, float("nan"), float("inf")])
def test_flow_match_refuses_steps_that_are_no_number_of_them(steps):
    with pytest.raises(ConfigError, match="at least 1"):
        flow_match(steps)


@pytest.mark.parametrize("shift", [0.0, -1.0, float("nan"), float("inf")])
def test_flow_match_refuses_a_shift_that_gives_no_sigmas(shift):
    with pytest.raises(ConfigError, match="finite number above 0"):
        flow_match(4, shift=shift)


def test_one_step_goes_from_one_to_zero():
    assert flow_match(1).tolist() == [1, 0]


def test_full_trajectory_is_all_but_the_last():
    assert stochastic_steps(10, None, **PLACE) == (0, 1, 2, 3, 4, 5, 6, 7, 8)


def test_window_is_consecutive_and_every_place_is_equally_likely():
    windows = Counter(stochastic_steps(10, 3, 5, seed=1, step=step, group=0) for step in range(3000))
    assert set(windows) == {(0, 1, 2), (1, 2, 3), (2, 3, 4)}
    assert all(abs(count - 1000) < 4 * (3000 * 2 / 9) ** 0.5 for count in windows.values())  # 4 binomial deviations


def test_window_defaults_to_the_first_half():
    windows = {stochastic_steps(9, 2, seed=1, step=step, group=0) for step in range(200)}
    assert windows == {(0, 1), (1, 2), (2, 3)}  # the first four of nine


def test_window_depends_on_nothing_but_seed_step_and_group():
    torch.manual_seed(1)
    first = stochastic_steps(20, 3, 10, seed=7, step=4, group=2)
    torch.manual_seed(2)
    assert stochastic_steps(20, 3, 10, seed=7, step=4, group=2) == first


@pytest.mark.parametrize("vary", ["seed", "step", "group"])
def test_window_moves_with_each_of_them(vary):
    """Defect 3 of public code: a "random" window that is the same for the whole run."""
    windows = {stochastic_steps(20, 3, 10, **(PLACE | {vary: value})) for value in range(60)}
    assert len(windows) == 8


@pytest.mark.parametrize(("window", "first"), [(0, 5), (6, 5), (3, 10), (-1, 5)])
def test_windows_that_do_not_fit_are_refused(window, first):
    with pytest.raises(ConfigError, match="does not fit"):
        stochastic_steps(10, window, first, **PLACE)


def test_window_may_end_just_before_the_last_step():
    assert stochastic_steps(10, 9, 9, **PLACE) == tuple(range(9))


def held(moving, last, steps):
    """[(first step of the window, training steps in a row)] of that many training steps."""
    return [(place, len(list(run))) for place, run in groupby(moving.start(step, last) for step in range(steps))]


def test_a_progressive_window_moves_by_its_stride_and_stops_or_begins_anew():
    assert held(MovingWindow(every=25), 3, 200) == [(0, 25), (1, 25), (2, 25), (3, 125)]
    assert held(MovingWindow(every=2, stride=2), 5, 12) == [(0, 2), (2, 2), (4, 2), (5, 6)]  # 5 is the last that fits
    anew = MovingWindow(every=2, stride=2, restarts=True)
    assert held(anew, 5, 12) == [(0, 2), (2, 2), (4, 2), (5, 2), (0, 2), (2, 2)]
    assert MovingWindow().start(10**7, 21) == 21


def test_a_decaying_window_lingers_early_by_the_published_formula():
    """25 steps and a window of 4 leave first steps 0 .. 21; ceil(25 exp(-0.1 relu(l - 13))), counted one by one."""
    moving = MovingWindow(every=25, decay_from=13, restarts=True)
    expected = [(place, math.ceil(25 * math.exp(-0.1 * max(0, place - 13)))) for place in range(22)]
    assert [count for _, count in expected[12:17]] == [25, 25, 23, 21, 19]  # 25 e^-.1 = 22.6, e^-.2 20.5, e^-.3 18.5
    whole = sum(count for _, count in expected)
    assert held(moving, 21, whole) == expected
    assert held(moving, 21, 2 * whole) == expected * 2
    stops = MovingWindow(every=25, decay_from=13)
    assert held(stops, 21, whole + 500) == [*expected[:-1], (21, expected[-1][1] + 500)]


def test_a_moving_window_is_a_function_of_the_training_step_alone():
    moving = MovingWindow(every=3)
    for step in range(40):
        windows = {
            stochastic_steps(10, 2, 9, seed=seed, step=step, group=group, moving=moving)
            for seed in range(3)
            for group in range(3)
        }
        start = min(step // 3, 7)
        assert windows == {(start, start + 1)}
    with pytest.raises(ConfigError, match="does not fit"):
        stochastic_steps(10, 6, 5, **PLACE, moving=moving)
