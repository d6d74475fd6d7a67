"""Schedules against diffusers; windows of stochastic steps."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from flowbench.errors import ConfigError
from flowbench.sampling import flow_match, shifted, stochastic_steps

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
