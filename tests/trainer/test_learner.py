"""AdamW, its schedule, the moving average, and their state."""

from __future__ import annotations

import math

import pytest
import torch

from flowbench.config import OptimizerConfig
from flowbench.trainer.learner import AVERAGE, BEHAVIOUR, Learner, Shadow, scheduled_lr


def learner(**changes):
    parameters = {"a": torch.nn.Parameter(torch.tensor([1.0, -2.0])), "b": torch.nn.Parameter(torch.zeros(1))}
    return Learner(parameters, OptimizerConfig(**{"lr": 0.1, "weight_decay": 0, "ema_every": 1, **changes}))


def push(one, gradient):
    for parameter in one.parameters.values():
        parameter.grad = torch.full_like(parameter, gradient)
    return one.apply(0.1)


def test_learning_rate_by_hand():
    constant = OptimizerConfig(lr=2.0, warmup=4)
    assert [scheduled_lr(constant, step, 10) for step in (0, 1, 3, 4, 9)] == [0.5, 1.0, 2.0, 2.0, 2.0]
    linear = OptimizerConfig(lr=2.0, warmup=2, schedule="linear")
    assert [scheduled_lr(linear, step, 10) for step in (0, 1, 2, 6, 9)] == pytest.approx([1.0, 2.0, 2.0, 1.0, 0.25])
    cosine = OptimizerConfig(lr=2.0, schedule="cosine")
    assert [scheduled_lr(cosine, step, 8) for step in (0, 2, 4)] == pytest.approx([2.0, 1 + math.sqrt(0.5), 1.0])
    assert scheduled_lr(OptimizerConfig(lr=1.0, warmup=5), 4, 5) == 1.0  # a warm-up as long as the run


def test_average_by_hand():
    """decay after n updates: min((1 + n) / (10 + n), ema_decay); here 2/11, 3/12, then .26."""
    one = learner(ema_decay=0.26)
    average = torch.tensor([1.0, -2.0])
    for decay in (2 / 11, 3 / 12, 0.26):
        push(one, 0.5)
        average = decay * average + (1 - decay) * one.parameters["a"].detach()
        torch.testing.assert_close(one.weights[AVERAGE]["a"], average)
    assert not torch.equal(one.weights[AVERAGE]["a"], one.parameters["a"])


def test_average_every_few_updates_decays_by_the_number_of_updates():
    one = learner(ema_every=3)
    for _ in range(2):
        push(one, 1.0)
    assert one.weights[AVERAGE]["a"].tolist() == [1.0, -2.0]
    push(one, 1.0)
    decay = 4 / 13
    torch.testing.assert_close(
        one.weights[AVERAGE]["a"], decay * torch.tensor([1.0, -2.0]) + (1 - decay) * one.parameters["a"].detach()
    )


def test_which_shadows_are_the_live_weights():
    """Both at first; after an update none; a copy that keeps nothing of itself again; the same when restored."""
    parameters = {"a": torch.nn.Parameter(torch.tensor([1.0, -2.0]))}
    one = Learner(parameters, OptimizerConfig(weight_decay=0), {BEHAVIOUR: Shadow(lambda step: 0.5 * (step > 0))})
    assert one.live({AVERAGE, BEHAVIOUR, "reference"}) == {AVERAGE, BEHAVIOUR}
    push(one, 0.5)
    assert one.live({AVERAGE, BEHAVIOUR}) == set()
    one.end_step(0)
    assert one.live({AVERAGE, BEHAVIOUR}) == {BEHAVIOUR}
    again = Learner(
        {"a": torch.nn.Parameter(torch.zeros(2))}, OptimizerConfig(weight_decay=0), {BEHAVIOUR: one.shadows[BEHAVIOUR]}
    )
    again.restore(one.state(), one.updates)
    assert again.live({AVERAGE, BEHAVIOUR}) == {BEHAVIOUR}
    push(again, -0.5)
    again.end_step(1)
    assert again.live({AVERAGE, BEHAVIOUR}) == set()


def test_a_forward_pass_may_be_taken_back_after_other_weights_were_used():
    """As when the reference, an adapter, is asked between a loss and its gradient: 2 a b at a = (1, -2), b = 3."""
    one = learner()
    with torch.no_grad():
        one.parameters["b"].fill_(3.0)
    for value in one.weights[AVERAGE].values():
        value.fill_(100.0)
    a, b = one.parameters["a"], one.parameters["b"]
    loss = (a**2 * b).sum()
    with one.using(AVERAGE), torch.no_grad():
        assert (a**2 * b).tolist() == [1e6, 1e6]
    loss.backward()
    assert a.grad.tolist() == [6.0, -12.0] and b.grad.tolist() == [5.0]
    assert a.tolist() == [1.0, -2.0] and one.weights[AVERAGE]["a"].tolist() == [100.0, 100.0]


def test_the_live_weights_come_back_after_the_average_was_shown():
    """Even when the evaluation fails, and to the bit."""
    one = learner()
    push(one, 1.0)
    live = one.parameters["a"].detach().clone()
    with pytest.raises(RuntimeError), one.using(AVERAGE):
        average = one.weights[AVERAGE]["a"]
        assert torch.equal(one.parameters["a"], average) and not torch.equal(average, live)
        raise RuntimeError("evaluation failed")
    assert torch.equal(one.parameters["a"], live)


def test_first_adam_step_moves_by_the_learning_rate_even_for_tiny_gradients():
    """eps 1e-15: a gradient of 5e-9 moves a weight by lr; with the usual 1e-8 it would by a third of it."""
    tiny, usual = learner(), learner(eps=1e-8)
    for one in (tiny, usual):
        push(one, 5e-9)
    assert 1 - tiny.parameters["a"][0].item() == pytest.approx(0.1, rel=1e-4)
    assert 1 - usual.parameters["a"][0].item() == pytest.approx(0.1 / 3, rel=1e-3)


def test_gradients_are_clipped_by_their_norm():
    one = learner(max_grad_norm=1.0)
    assert push(one, 100.0) == pytest.approx(100 * math.sqrt(3))
    first_moment = one.optimizer.state[one.parameters["a"]]["exp_avg"]
    assert first_moment.tolist() == pytest.approx([0.1 / math.sqrt(3)] * 2, rel=1e-4)  # (1 - beta1) * clipped


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_takes_no_step(bad):
    one = learner()
    push(one, 1.0)
    before = {name: value.clone() for name, value in one.state().items()}
    assert not math.isfinite(push(one, bad))
    assert one.updates == 1
    assert all(torch.equal(value, before[name]) for name, value in one.state().items())
    assert math.isfinite(push(one, 1.0))


def test_state_restores_everything():
    one, two = learner(), learner()
    for gradient in (1.0, -0.3, 0.2):
        push(one, gradient)
    two.restore({name: value.clone() for name, value in one.state().items()}, one.updates)
    for gradient in (0.4, 0.1):
        push(one, gradient)
        push(two, gradient)
    assert one.state().keys() == two.state().keys() and one.updates == two.updates == 5
    assert all(torch.equal(value, two.state()[name]) for name, value in one.state().items())


def test_a_shadow_that_follows_step_by_step_by_hand():
    """decay min(n / 4, .5): it takes in all of the live weights after step 0, 3/4 after step 1, then half."""
    parameters = {"a": torch.nn.Parameter(torch.tensor([1.0]))}
    one = Learner(parameters, OptimizerConfig(), {BEHAVIOUR: Shadow(lambda step: min(step / 4, 0.5))})
    seen = []
    for step, value in enumerate([2.0, 6.0, 0.0, 1.0]):
        with torch.no_grad():
            parameters["a"].fill_(value)
        one.end_step(step)
        seen.append(one.weights[BEHAVIOUR]["a"].item())
    assert seen == [2.0, 5.0, 2.5, 1.75]
    assert one.weights[AVERAGE]["a"].item() == 1.0  # follows optimizer steps, and there was none
    with one.using(BEHAVIOUR):
        assert parameters["a"].item() == 1.75
    assert parameters["a"].item() == 1.0


def test_every_shadow_is_kept_and_restored():
    shadows = {BEHAVIOUR: Shadow(lambda step: 0.5)}

    def fresh():
        return Learner({"a": torch.nn.Parameter(torch.tensor([1.0, -2.0]))}, OptimizerConfig(lr=0.1), shadows)

    one, other = fresh(), fresh()
    push(one, 1.0)
    one.end_step(0)
    held = {name: value.clone() for name, value in one.state().items()}
    assert {"live/a", "average/a", "behaviour/a"} <= set(held)
    assert not torch.equal(held["behaviour/a"], held["live/a"])
    other.restore(held, one.updates)
    assert all(torch.equal(value, held[name]) for name, value in other.state().items())
